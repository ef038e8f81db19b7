"""What a case does not name, what fails, what must not pass, on a case of seconds."""

from dataclasses import replace

import dagster as dg
import pytest
import torch

from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.defs.assets import checks
from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.storage.files import read_parquet, write_parquet
from repair_pipeline.storage.records import save_dataset
from repair_pipeline.storage.views import query
from repair_pipeline.types import TrainingRows
from repair_pipeline_tests.defs.conftest import TINY, Workspace


def materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    found = result.get_asset_check_evaluations()
    return {(check.asset_key.to_user_string(), check.check_name): check for check in found if not check.passed}


def test_what_a_case_does_not_name_is_skipped_and_stops_nothing(workspace: Workspace) -> None:
    result = workspace.make(TINY)
    assert result.success
    assert failed_checks(result) == {}
    assert materialised(result) == {
        *("corrupted_dataset", "base_model", "fisher_diagonal", "failure_partition"),
        *("influence_loss", "influence_random", "repaired_base", "repaired_finetune", "evaluation", "report"),
    }


def test_a_case_without_influence_methods_is_evaluated(workspace: Workspace) -> None:
    fields = TINY.resolved | {"influence": {}, "treat": [], "treatments": {"base": {}, "finetune": {}}}
    result = workspace.make(parse_spec(fields))
    assert result.success
    treatments = query(workspace.layout, "SELECT treatment FROM recovery ORDER BY ALL").to_pydict()["treatment"]
    assert treatments == ["base", "finetune"]


def test_a_method_that_fails_stops_no_other_and_evaluation_says_what_is_missing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_loss(self: Loss, task: object) -> None:
        raise ZeroDivisionError("no loss today")

    monkeypatch.setattr(Loss, "scores", no_loss)
    result = workspace.make(TINY)
    assert result.success
    assert {"influence_random", "repaired_base", "evaluation", "report"} <= materialised(result)
    assert "influence_loss" not in materialised(result)
    failed = failed_checks(result)
    told = failed["influence_loss", "succeeded"]
    assert told.description == "ZeroDivisionError: no loss today"
    assert "in no_loss" in str(told.metadata["traceback"].value)
    assert told.severity == dg.AssetCheckSeverity.ERROR
    assert "influence_loss" in failed["evaluation", "complete"].description
    assert ("repaired_finetune", "succeeded") in failed


def test_finished_files_are_reused_and_made_again_under_force(workspace: Workspace) -> None:
    case, base = workspace.case(TINY), ("corrupted_dataset", "base_model")

    def reused(result: dg.ExecuteInProcessResult) -> set[object]:
        return {event.materialization.metadata["reused"].value for event in result.get_asset_materialization_events()}

    assert reused(workspace.make(TINY, *base)) == {False}
    before = case.base_model_path.read_bytes(), case.base_model_path.stat().st_mtime_ns
    assert reused(workspace.make(TINY, *base)) == {True}
    assert (case.base_model_path.read_bytes(), case.base_model_path.stat().st_mtime_ns) == before
    assert reused(workspace.make(TINY, *base, force=True)) == {False}
    assert case.base_model_path.stat().st_mtime_ns > before[1]


def test_bad_input_is_one_line_of_a_failure(workspace: Workspace, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("REPAIR_DATA_DIR", str(tmp_path / "nowhere"))
    fields = TINY.resolved | {"dataset": {"name": "mnist", "train_size": 300}}
    result = workspace.make(parse_spec(fields), "corrupted_dataset", "base_model")
    [failure] = result.get_failed_step_keys()
    assert failure == "corrupted_dataset"
    told = result.failure_data_for_node("corrupted_dataset").user_failure_data.description
    assert "nowhere" in told
    assert "\n" not in told
    assert not list(workspace.layout.results.rglob("*dataset*"))


def spoiled(workspace: Workspace, spec: CaseSpec, rows: dict[str, TrainingRows]) -> None:
    case = workspace.case(spec)
    _, notes = read_parquet(case.dataset_path)
    save_dataset(case.dataset_path, replace(case.data, **rows), notes)


def test_a_row_too_many_corrupted_stops_what_follows(workspace: Workspace) -> None:
    workspace.make(TINY, "corrupted_dataset")
    fit = workspace.case(TINY).data.fit
    clean = int(torch.nonzero((fit.clean_labels == 1) & ~fit.corrupted)[0])
    corrupted = fit.corrupted.clone()
    corrupted[clean] = True
    spoiled(workspace, TINY, {"fit": replace(fit, corrupted=corrupted)})
    result = workspace.make(TINY, "corrupted_dataset", "base_model")
    assert not result.success
    assert "rows of class 1 are corrupted" in failed_checks(result)["corrupted_dataset", "planted_exactly"].description
    assert "base_model" not in materialised(result)
    assert query(workspace.layout, "SELECT status FROM cases").to_pydict() == {"status": ["failed"]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("target", "labelled [5], not [7]"),
        ("hidden", "relabelled and not marked"),
    ],
)
def test_flips_go_to_the_named_classes_and_are_marked(workspace: Workspace, change: str, says: str) -> None:
    workspace.make(TINY, "corrupted_dataset")
    fit = workspace.case(TINY).data.fit
    planted = change == "target"
    row = int(torch.nonzero((fit.clean_labels == 1) & (fit.corrupted == planted))[0])
    labels = fit.examples.labels.clone()
    labels[row] = 5
    spoiled(workspace, TINY, {"fit": replace(fit, examples=replace(fit.examples, labels=labels))})
    assert any(says in wrong for wrong in checks.planted_wrongly(workspace.case(TINY)))


def test_a_row_in_two_splits_or_in_none_is_caught(workspace: Workspace) -> None:
    workspace.make(TINY, "corrupted_dataset", "base_model", "failure_partition")
    case = workspace.case(TINY)
    assert checks.split_wrongly(case) == []
    table, notes = read_parquet(case.partition_path)
    write_parquet(case.partition_path, table.slice(1), notes)
    assert "have no split" in checks.split_wrongly(case)[0]
    twice = table.take([*range(len(table)), len(table) - 1])
    write_parquet(case.partition_path, twice, notes)
    assert "more than one split" in checks.split_wrongly(case)[0]


def test_a_score_that_is_not_finite_stops_what_follows(workspace: Workspace) -> None:
    workspace.make(TINY)
    path = workspace.case(TINY).influence_path("loss")
    table, notes = read_parquet(path)
    values = table["influence"].to_pylist()
    spoilt = table.set_column(table.schema.get_field_index("influence"), "influence", [[float("nan"), *values[1:]]])
    write_parquet(path, spoilt, notes)
    result = workspace.make(TINY)
    assert not result.success
    assert failed_checks(result)["influence_loss", "finite_scores"].description == "1 of 270 scores are not finite"
    assert "influence_random" in materialised(result)
    assert not {"repaired_finetune", "evaluation"} & materialised(result)


def test_an_unknown_key_is_refused(workspace: Workspace) -> None:
    from repair_pipeline.defs.partitions import register_cases

    with pytest.raises(InputError, match="no-such-case"):
        register_cases(workspace.instance, workspace.layout, ["no-such-case"])
