"""Every blocking check fails on results that violate it."""

import json
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import torch

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.defs.assets.checks import SUCCEEDED, corruption_problems, score_problems, split_problems
from repair_pipeline.defs.assets.events import report_materialisations
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import Outcome
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.files import read_parquet, write_parquet, write_text
from repair_pipeline.storage.identity import read_origin, write_origin
from repair_pipeline.storage.records import save_dataset
from repair_pipeline.types import TrainingRows
from repair_pipeline_tests.defs.conftest import TINY, Workspace


def save_fit(workspace: Workspace, fit: TrainingRows) -> None:
    case = workspace.case(TINY)
    notes = read_parquet(case.dataset_path)[1]
    save_dataset(case.dataset_path, replace(case.data, fit=fit), lambda: notes)
    accept_as_result(case, case.dataset_path)


def accept_as_result(case: Case, path: Path) -> None:
    """Record an altered file as the result of its step, so that the step is not run again."""
    file = next(file for step in STEPS for file in step.files(case) if file.path == path)
    origin = read_origin(path)
    assert origin is not None
    write_origin(path, replace(origin, digest=file.digest()))


def row_of_class(fit: TrainingRows, label: int, corrupted: bool) -> int:
    return int(torch.nonzero((fit.clean_labels == label) & (fit.corrupted == corrupted))[0])


def with_extra_corrupted(fit: TrainingRows) -> TrainingRows:
    """The fit rows with one more row of class 1 marked as corrupted."""
    corrupted = fit.corrupted.clone()
    corrupted[row_of_class(fit, 1, corrupted=False)] = True
    return replace(fit, corrupted=corrupted)


def test_an_extra_corrupted_row_stops_the_steps_that_follow(workspace: Workspace) -> None:
    save_fit(workspace, with_extra_corrupted(workspace.case(TINY).data.fit))
    run = workspace.make(TINY, "corrupted_dataset", "base_model")
    assert not run.result.success
    assert run.failed_checks["corrupted_dataset", "planted_exactly"].blocking
    assert "base_model" not in run.materialised
    assert workspace.case(TINY).record["status"] == "failed"


def test_planting_is_counted_in_the_fit_rows_and_in_all_training_rows(workspace: Workspace) -> None:
    assert corruption_problems(workspace.case(TINY)) == []
    save_fit(workspace, with_extra_corrupted(workspace.case(TINY).data.fit))
    in_fit, in_all = [line for line in corruption_problems(workspace.case(TINY)) if "are corrupted, expected" in line]
    assert "fit rows of class 1" in in_fit
    assert "training rows of class 1" in in_all


def test_noise_of_annotators_is_counted_in_all_classes_together(workspace: Workspace) -> None:
    noise = {"kind": "instance_noise", "rate": 0.3, "annotators": 2}
    spec = parse_spec({**TINY.resolved, "name": "noisy", "corruption": noise})
    case = workspace.case(spec)
    next(step for step in STEPS if step.name == "corrupted_dataset").run(case)
    assert corruption_problems(case) == []
    save_dataset(case.dataset_path, replace(case.data, fit=with_extra_corrupted(case.data.fit)), dict)
    found = corruption_problems(workspace.case(spec))
    assert (
        f"{case.data.fit.corrupted.sum() + 1} fit rows are corrupted, expected {case.data.fit.corrupted.sum()}" in found
    )
    assert "1 fit rows are corrupted but labelled right, or the reverse" in found


@pytest.mark.parametrize(
    ("corrupted", "problem"), [(True, "labelled [5], expected [7]"), (False, "not marked as corrupted")]
)
def test_flips_are_marked_and_go_to_the_named_classes(workspace: Workspace, corrupted: bool, problem: str) -> None:
    fit = workspace.case(TINY).data.fit
    labels = fit.examples.labels.clone()
    labels[row_of_class(fit, 1, corrupted)] = 5
    if corrupted:
        labels[(fit.clean_labels == 1) & fit.corrupted] = 5
    save_fit(workspace, replace(fit, examples=replace(fit.examples, labels=labels)))
    assert any(problem in line for line in corruption_problems(workspace.case(TINY)))


def test_every_example_has_exactly_one_split(workspace: Workspace) -> None:
    case = workspace.case(TINY)
    assert split_problems(case) == []
    table, notes = read_parquet(case.partition_path)
    write_parquet(case.partition_path, table.slice(1), notes)
    assert "1 rows have no split" in split_problems(case)[0]
    write_parquet(case.partition_path, pa.concat_tables([table, table.slice(0, 1)]), notes)
    assert "1 rows have several splits" in split_problems(case)[0]
    moved = ["holdout", *table["split"].to_pylist()[1:]]  # the first row is a fit row
    at = table.schema.get_field_index("split")
    write_parquet(case.partition_path, table.set_column(at, table.schema.field(at), pa.array(moved)), notes)
    assert len(split_problems(case)) == 2


def test_a_score_that_is_not_finite_stops_the_steps_that_follow(workspace: Workspace) -> None:
    case = workspace.case(TINY)
    assert score_problems(case) == []
    table, notes = read_parquet(case.first_view.influence_path("loss"))
    at, values = table.schema.get_field_index("influence"), [float("nan"), *table["influence"].to_pylist()[1:]]
    altered = table.set_column(at, table.schema.field(at), pa.array(values))
    write_parquet(case.first_view.influence_path("loss"), altered, notes)
    accept_as_result(case, case.first_view.influence_path("loss"))
    run = workspace.make(TINY)
    assert not run.result.success
    described = run.failed_checks["influence", "finite_scores"].description
    assert described == f"loss: 1 of {len(table)} scores are not finite"
    assert not {"repaired_models", "evaluation"} & run.materialised


def test_the_latest_checks_of_what_the_shell_has_made_are_shown(workspace: Workspace) -> None:
    case, check = workspace.case(TINY), dg.AssetCheckKey(dg.AssetKey("influence"), SUCCEEDED)
    write_text(case.layout.tracked_run(case.id), json.dumps({"experiment_id": "1", "run_id": "abc"}))
    made = [case.first_view.influence_path("loss")]
    for failed in ({}, {"influence_random": OSError("no random today")}, {}):
        report_materialisations(workspace.instance, case, Outcome(made, failed))
        [latest] = workspace.instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        assert latest.event.dagster_event.asset_check_evaluation_data.passed == (not failed)
        shown = workspace.instance.get_latest_materialization_event(dg.AssetKey("influence")).asset_materialization
        assert shown.metadata["made_by"].value == "repair run"
        assert "/artifacts/report.html" in shown.metadata["report"].value


def test_a_row_without_a_score_is_caught(workspace: Workspace) -> None:
    case = workspace.case(TINY)
    table, notes = read_parquet(case.first_view.influence_path("loss"))
    write_parquet(case.first_view.influence_path("loss"), table.slice(1), notes)
    assert f"expected each of {len(table)} fit rows once" in score_problems(case)[0]
