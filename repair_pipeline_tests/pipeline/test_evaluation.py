"""The case's tables, against counting."""

import pytest

from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.pipeline.evaluation import grid, missing, repairs
from repair_pipeline.pipeline.repair_record import read_repair_record
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import load_scores
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.training.fit import accuracy
from repair_pipeline_tests import oracles
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import run


def rows(case, table):
    return read_parquet(case.layout.table(table, case.id))[0].to_pylist()


def recovered(case, treatment, method=None):
    (row,) = [r for r in rows(case, "recovery") if (r["treatment"], r["influence_method"]) == (treatment, method)]
    return row


@pytest.mark.parametrize("table", ["cases", "examples", "detection", "detection_curve", "recovery", "timings"])
def test_tables_have_the_schemas_columns_less_the_paths(case, table):
    assert list(rows(case, table)[0]) == [name for name in TABLES[table].names if name != "case_id"]


def test_the_recovery_table_has_a_row_for_every_cell_and_its_controls(case):
    variants = {(row["treatment"], row["influence_method"], row["removed"]) for row in rows(case, "recovery")}
    planted = int(case.data.fit.corrupted.sum())
    assert variants == {
        ("base", None, 0),
        ("finetune", "ewc", planted),
        ("finetune", "random", planted),
        ("finetune", None, 0),
        ("ewc_deletion", "ewc", planted),
        ("ewc_deletion", "random", planted),
        ("semi_oracle", None, planted),
    }


def test_recovery_counts_right_answers(case):
    for variant in grid(case):
        model = case.model(case.model_path(variant))
        row = recovered(case, variant.treatment, variant.influence_method)
        for name in ("query", "holdout", "remaining"):
            assert row[f"{name}_accuracy"] == accuracy(model, case.partition.parts()[name])


def test_the_base_model_fails_on_failures_and_on_nothing_else(case):
    base = recovered(case, "base")
    assert (base["query_accuracy"], base["holdout_accuracy"], base["remaining_accuracy"]) == (0, 0, 1)
    failures = sum(len(part) for name, part in case.partition.parts().items() if name not in ("guard", "remaining"))
    assert base["unseen_accuracy"] == pytest.approx(1 - failures / len(case.data.test))


def test_gamma_is_the_one_that_was_used_and_null_where_there_is_none(case):
    assert recovered(case, "ewc_deletion", "ewc")["gamma"] == pytest.approx(2 / len(case.data.fit.examples))
    assert recovered(case, "finetune", "ewc")["gamma"] is None


def test_detection_counts_the_planted_fit_rows(case):
    corrupted = case.data.fit.corrupted.numpy()
    assert [row["method"] for row in rows(case, "detection")] == list(TINY.influence)
    for row in rows(case, "detection"):
        scores = load_scores(case.influence_path(row["method"]), case.data.fit.examples)
        assert row["auc"] == pytest.approx(oracles.auc(scores.values.numpy(), corrupted), abs=1e-12)
        assert row["n_corrupted"] == row["n_causes"] == corrupted.sum()
        assert (
            row["precision"]
            == row["recall"]
            == row["precision_at_n"]
            == corrupted[scores.order][: corrupted.sum()].mean()
        )


def test_the_oracle_is_perfect_and_ewc_beats_chance_and_the_loss(case):
    auc = {row["method"]: row["auc"] for row in rows(case, "detection")}
    assert auc["oracle"] == 1
    assert auc["ewc"] > max(0.9, auc["loss"])


def test_curves_end_at_all_rows_and_all_planted(case):
    for method in TINY.influence:
        curve = [(row["inspected"], row["found"]) for row in rows(case, "detection_curve") if row["method"] == method]
        assert curve[0] == (0, 0)
        assert curve[-1] == (len(case.data.fit.examples), case.data.fit.corrupted.sum())


def test_timings_name_every_file_that_was_made(case):
    timed = [(row["method"], row["step"]) for row in rows(case, "timings")]
    upstream = ["corrupted_dataset", "base_model", "fisher_diagonal", "failure_partition"]
    variants = [(variant.influence_method, variant.name) for variant in grid(case)]
    assert timed == [(None, step) for step in upstream] + [(name, "influence") for name in TINY.influence] + variants
    assert all(row["seconds"] > 0 and row["device"] == "cpu" and row["threads"] == 1 for row in rows(case, "timings"))


def test_nothing_is_missing_of_a_finished_case_and_what_is_deleted_is(case):
    assert missing(case) == []
    case.influence_path("loss").unlink()
    case.layout.model(case.id, "nothing-finetune").unlink()
    assert missing(case) == ["influence_loss", "nothing-finetune"]


def test_repairs_are_the_first_treated_methods_cells(case):
    assert [variant.name for variant in repairs(case)] == ["ewc-finetune", "ewc-ewc_deletion"]


def test_weights_say_what_they_were_made_without(case):
    for variant in grid(case):
        assert read_repair_record(case.model_path(variant)).variant == variant


def test_random_removes_as_many_rows_as_the_method_it_is_the_control_of(case):
    settings = ["causes={positive: true}", "influence={oracle: {}, random: {}}", "treat=[oracle, random]"]
    settings += ["treatments={ewc_deletion: {}}"]
    other = case_at(case.layout.home, with_settings(TINY, settings))
    assert run(other).failed == {}
    planted = int(case.data.fit.corrupted.sum())
    assert recovered(other, "ewc_deletion", "oracle")["removed"] == planted
    assert recovered(other, "ewc_deletion", "random")["removed"] == planted
