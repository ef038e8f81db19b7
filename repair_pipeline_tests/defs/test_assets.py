"""Assets that are skipped, that fail, and that are reused, on a case that takes seconds."""

import shutil
from collections.abc import Callable

import dagster as dg
import pytest

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.defs.assets import ASSETS
from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.views import query
from repair_pipeline_tests.defs.conftest import TINY, CaseRun, Workspace


def test_assets_that_a_case_does_not_name_are_skipped_and_stop_nothing(tiny: CaseRun) -> None:
    assert tiny.result.success
    assert tiny.failed_checks == {}
    assert tiny.materialised == {
        *("corrupted_dataset", "base_model", "fisher_diagonal", "failure_partition"),
        *("influence_loss", "influence_random", "repaired_base", "repaired_selective_dampening", "evaluation"),
    }


def test_no_step_waits_for_a_step_that_the_case_skips(workspace: Workspace) -> None:
    case = workspace.case(TINY)
    made = {step.name for step in STEPS if step.files(case)}
    assets = {asset.key.to_user_string(): asset for asset in ASSETS}
    waiting = {step.name for step in STEPS if step.name in made and not made.issuperset(step.needs)}
    assert waiting >= {"evaluation", "report"}
    for name in waiting:  # Dagster would skip a single op, but not a graph with a fan-in
        assert isinstance(assets[name].node_def, dg.GraphDefinition), name


def test_a_case_without_influence_methods_is_evaluated(workspace: Workspace) -> None:
    fields = TINY.resolved | {"influence": {}, "treat": [], "treatments": {"base": {}, "finetune": {}}}
    run = workspace.make(parse_spec(fields))
    assert run.result.success
    sql = f"SELECT treatment FROM recovery WHERE case_id <> '{workspace.case(TINY).id}' ORDER BY ALL"
    assert query(run.layout, sql).to_pydict() == {"treatment": ["base", "finetune"]}


def test_a_method_that_fails_stops_no_other_and_evaluation_says_what_is_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_loss(self: Loss, task: object) -> None:
        raise ZeroDivisionError("no loss today")

    monkeypatch.setattr(Loss, "scores", no_loss)
    shutil.rmtree(workspace.layout.results / "influence")
    shutil.rmtree(workspace.layout.results / "models")
    run = workspace.make(TINY)
    assert run.result.success
    assert {"influence_random", "repaired_base", "evaluation"} <= run.materialised
    assert "influence_loss" not in run.materialised
    check = run.failed_checks["influence_loss", "succeeded"]
    assert check.description == "ZeroDivisionError: no loss today"
    assert "in no_loss" in str(check.metadata["traceback"].value)
    assert (check.severity, check.blocking) == (dg.AssetCheckSeverity.ERROR, False)
    complete = run.failed_checks["evaluation", "complete"]
    assert "influence_loss" in complete.description
    assert "loss-selective_dampening" in complete.description
    assert "influence_random" not in complete.description


def test_a_method_that_fails_once_is_retried(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, tries = Loss.scores, []

    def scores_at_second_try(self: Loss, task: object) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("the disk was busy")
        return scores(self, task)

    monkeypatch.setattr(Loss, "scores", scores_at_second_try)
    shutil.rmtree(workspace.layout.results / "influence")
    run = workspace.make(TINY, "influence_loss")
    assert (run.result.success, len(tries)) == (True, 2)
    assert run.failed_checks == {}
    assert run.materialised == {"influence_loss"}


def test_a_step_that_others_need_is_retried_and_bad_input_is_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fails(error: Exception) -> Callable[..., None]:
        def partition(*args: object) -> None:
            tries.append(1)
            raise error

        return partition

    shutil.rmtree(workspace.layout.results / "examples")
    monkeypatch.setattr(steps, "partition", fails(OSError("the disk was busy")))
    assert not workspace.make(TINY, "failure_partition").result.success
    assert len(tries) == 2
    monkeypatch.setattr(steps, "partition", fails(InputError("too few failures")))
    assert not workspace.make(TINY, "failure_partition").result.success
    assert len(tries) == 3


def test_a_case_with_a_gate_shows_pairs_and_the_verdict(workspace: Workspace) -> None:
    run = workspace.make(parse_spec(TINY.resolved | {"gate": {}}))
    assert run.result.success
    pairs, evaluation = run.metadata("pairs"), run.metadata("evaluation")
    assert "](data:image/png;base64," in pairs["contact_sheet"]
    assert pairs["dagster/row_count"] == len(query(run.layout, "SELECT * FROM pairs"))
    [verdict] = query(run.layout, "SELECT * FROM verdicts WHERE judge = 'gate'").to_pylist()
    assert (evaluation["verdict"], evaluation["reason"]) == (verdict["verdict"], verdict["reason"])
    for name in ("gain", "over_control", "over_control_low"):
        assert evaluation[name] == verdict[name]


def test_finished_files_are_reused_and_made_again_under_force(workspace: Workspace) -> None:
    path = workspace.case(TINY).base_model_path
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    assert workspace.make(TINY, "base_model").metadata("base_model")["reused"] is True
    assert path.stat().st_mtime_ns == written
    assert workspace.make(TINY, "base_model", force=True).metadata("base_model")["reused"] is False
    assert path.stat().st_mtime_ns > written
    assert path.read_bytes()[-1000:] == before[-1000:]  # the weights; the header holds the seconds of the run


def test_bad_input_is_one_line_of_a_failure_and_nothing_is_written(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAIR_DATA_DIR", str(workspace.layout.home / "nowhere"))
    mnist = parse_spec(TINY.resolved | {"dataset": {"name": "mnist", "train_size": 300}})
    run = workspace.make(mnist, "corrupted_dataset", "base_model")
    [failure] = [event for event in run.result.all_events if event.is_step_failure]
    assert failure.step_key == "corrupted_dataset"
    message = failure.step_failure_data.user_failure_data.description
    assert "nowhere" in message
    assert "\n" not in message
    assert not workspace.case(mnist).dataset_path.parent.exists()
    assert workspace.case(mnist).record["status"] == "failed"


def test_every_asset_says_what_it_is(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    assert set(pools) == {step.name for step in STEPS}
    heavy = {name for name, pool in pools.items() if pool == {"gpu"}}
    light = {"corrupted_dataset", "failure_partition", "evaluation", "report", "tracked_run", "candidate"}
    assert heavy == set(pools) - light
    for step in STEPS:
        node = graph.get(dg.AssetKey(step.name))
        assert {parent.to_user_string() for parent in node.parent_keys} == set(step.needs)
        assert node.description
        assert node.owners == ["team:repair"]
        assert node.kinds
        assert node.group_name in {"base", "step_1_causes", "step_2_treatment", "evidence"}
