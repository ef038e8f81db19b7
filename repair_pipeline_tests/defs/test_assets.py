"""The lineage, and assets that fail or are reused, on a case that takes seconds."""

import shutil
from collections.abc import Callable

import dagster as dg
import pytest

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.defs.assets.checks import ACCEPTED
from repair_pipeline.defs.assets.lineage import EVERY, LINEAGE
from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.views import query
from repair_pipeline_tests.defs.conftest import TINY, CaseRun, Workspace


def test_every_step_belongs_to_one_asset_and_the_lineage_fits_a_screen() -> None:
    assert sorted(step.name for asset in EVERY for step in asset.steps) == sorted(step.name for step in STEPS)
    assert len(EVERY) <= 14
    assert {"corrupted_dataset", "base_model", "fisher_diagonal", "failure_partition", "influence"} < {
        asset.name for asset in EVERY
    }
    assert {"repaired_models", "verdict", "patch", "tracked_run", "candidate"} < {asset.name for asset in EVERY}


def test_assets_are_made_after_what_their_steps_need() -> None:
    made = set[str]()
    for asset in EVERY:
        for step in asset.steps:
            assert made.issuperset(set(step.needs) - {other.name for other in asset.steps}), step.name
        made |= {step.name for step in asset.steps}


def test_a_run_has_a_step_for_each_piece_of_work_and_skips_none(tiny: CaseRun) -> None:
    assert tiny.result.success
    assert tiny.failed_checks == {}
    assert tiny.materialised == {
        *("corrupted_dataset", "base_model", "failure_partition", "fisher_diagonal"),
        *("influence", "repaired_models", "evaluation", "verdict"),
    }
    assert sorted(tiny.steps) == sorted(together[0].name for together in LINEAGE[:-1])
    assert not [event for event in tiny.result.all_events if event.is_step_skipped]


def test_each_asset_begins_with_a_headline(tiny: CaseRun) -> None:
    for name in tiny.materialised:
        first, headline = next(iter(tiny.metadata(name).items()))
        assert first == "headline"
        assert headline
        assert "\n" not in headline
    assert tiny.metadata("corrupted_dataset")["headline"].endswith("of the fit rows corrupted")
    assert tiny.metadata("verdict")["headline"] == "no gate"


def test_a_case_without_influence_methods_is_evaluated(workspace: Workspace) -> None:
    fields = TINY.resolved | {"influence": {}, "treat": [], "treatments": {"base": {}, "finetune": {}}}
    run = workspace.make(parse_spec(fields))
    assert run.result.success
    assert run.metadata("influence")["headline"] == "0 of 0 methods; no causes"
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
    assert {"influence", "repaired_models", "evaluation"} <= run.materialised
    assert [row["method"] for row in methods(run)] == ["random"]
    assert run.metadata("influence")["headline"].startswith("1 of 2 methods")
    check = run.failed_checks["influence", "succeeded"]
    assert check.description == "influence_loss: ZeroDivisionError: no loss today"
    assert "in no_loss" in str(check.metadata["influence_loss"].value)
    assert (check.severity, check.blocking) == (dg.AssetCheckSeverity.ERROR, False)
    assert "influence_loss failed: ZeroDivisionError: no loss today" in told(workspace, run)
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
    run = workspace.make(TINY, "influence")
    assert (run.result.success, len(tries)) == (True, 2)
    assert run.failed_checks == {}
    assert run.materialised == {"influence"}
    lines = told(workspace, run)
    assert [lines.count(f"influence_{method} begins") for method in ("loss", "random")] == [2, 1]


def told(workspace: Workspace, run: CaseRun) -> list[str]:
    """What the run's page tells in words."""
    return [entry.user_message for entry in workspace.instance.all_logs(run.result.run_id)]


def methods(run: CaseRun) -> list[dict[str, object]]:
    """The rows of the table on the page of the asset ``influence``."""
    return [dict(record.data) for record in run.materialisation("influence").metadata["methods"].records]


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


def test_a_repair_that_is_not_accepted_is_a_warning_of_a_run_that_succeeded(workspace: Workspace) -> None:
    run = workspace.make(parse_spec(TINY.resolved | {"gate": {}}))
    assert run.result.success
    [verdict] = query(run.layout, "SELECT * FROM verdicts WHERE judge = 'gate'").to_pylist()
    assert verdict["verdict"] != "accepted"
    check = run.failed_checks["verdict", ACCEPTED]
    assert (check.severity, check.blocking) == (dg.AssetCheckSeverity.WARN, False)
    assert verdict["reason"] in check.description
    shown = run.metadata("verdict")
    assert verdict["reason"] in shown["headline"]
    assert (shown["verdict"], shown["reason"]) == (verdict["verdict"], verdict["reason"])
    for name in ("gain", "over_control", "over_control_low"):
        assert shown[name] == verdict[name]
    key = verdict["case_id"]
    for name, line in (("explain", f"repair explain {key}"), ("review", f"repair review {key}")):
        assert line in shown[name]


def test_a_case_with_a_gate_has_a_patch_and_the_failures_beside_its_rows(workspace: Workspace) -> None:
    run = workspace.make(parse_spec(TINY.resolved | {"gate": {}}))
    shown, rows = run.metadata("patch"), query(run.layout, "SELECT action FROM patch")
    assert shown["dagster/row_count"] == len(rows) > 0
    assert shown["headline"].startswith(f"{len(rows)} rows: ")
    assert "](data:image/png;base64," in shown["contact_sheet"]
    assert f"repair patch apply {run.result.dagster_run.tags['dagster/partition']}" in shown["apply"]


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
    nodes = {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}
    assert set(nodes) == {asset.name for asset in EVERY}
    light = {"corrupted_dataset", "failure_partition", "report", "tracked_run", "candidate"}
    assert {name for name, node in nodes.items() if node.pools == {"gpu"}} == set(nodes) - light
    for asset in EVERY:
        node = nodes[asset.name]
        assert {parent.to_user_string() for parent in node.parent_keys} == set(asset.needs)
        assert node.owners == ["team:repair"]
        assert node.kinds
        assert node.group_name == "repair"  # a single group is drawn open
    beginnings = {asset.description[:12] for asset in EVERY}
    assert len(beginnings) == len(EVERY)


def test_automations_and_jobs_say_what_they_do(definitions: dg.Definitions) -> None:
    assert definitions.schedules
    assert definitions.sensors
    for automation in (*definitions.schedules, *definitions.sensors, *definitions.jobs):
        assert automation.description, automation.name
