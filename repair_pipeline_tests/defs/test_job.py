"""The preset, made by the job that workspace.yaml leads to."""

import torch

from repair_pipeline.cases.presets import preset
from repair_pipeline.definitions import definitions
from repair_pipeline.defs.partitions import CASES
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.views import query
from repair_pipeline_tests.defs.conftest import PRESET, Made


def test_every_step_is_an_asset_and_every_check_passes(made: Made) -> None:
    assert made.result.success
    materialised = {event.asset_key.to_user_string() for event in made.result.get_asset_materialization_events()}
    case = Case(preset(PRESET), made.layout, data_dir(), torch.device("cpu"))
    assert materialised == {step.name for step in STEPS if step.files(case)}
    verdicts = {
        (check.asset_key.to_user_string(), check.check_name): check
        for check in made.result.get_asset_check_evaluations()
    }
    assert all(check.passed for check in verdicts.values())
    blocking = {name for name, check in verdicts.items() if check.blocking}
    assert {("corrupted_dataset", "planted_exactly"), ("failure_partition", "splits_disjoint_and_covering")} < blocking
    assert ("influence_ewc", "finite_scores") in blocking


def test_a_studys_job_makes_a_case_up_to_its_tables() -> None:
    job = definitions.get_job_def("study")
    made = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert made == {step.name for step in STEPS} - {"report", "tracked_run", "candidate"}
    assert job.partitions_def == CASES


def test_dagster_and_the_shell_write_the_same_values(made: Made, tmp_path) -> None:
    shell = Layout(tmp_path)
    case = Case(preset(PRESET), shell, data_dir(), torch.device("cpu"))
    for step in STEPS[:-3]:
        step.run(case)
    for sql in (
        "SELECT * FROM examples ORDER BY ALL",
        "SELECT * FROM influence ORDER BY ALL",
        "SELECT * EXCLUDE (seconds) FROM detection ORDER BY ALL",
        "SELECT * EXCLUDE (seconds) FROM recovery ORDER BY ALL",
    ):
        by_dagster = query(made.layout, sql)
        assert len(by_dagster) > 0
        assert by_dagster.equals(query(shell, sql))


def test_the_case_is_registered_as_finished(made: Made) -> None:
    assert query(made.layout, "SELECT case_id, status FROM cases").to_pylist() == [
        {"case_id": PRESET, "status": "finished"}
    ]


def test_pages_show_numbers_pictures_and_the_question_to_ask(made: Made) -> None:
    influence = made.metadata("influence_ewc")
    assert influence["dagster/row_count"] == 900
    assert influence["auc"] > 0.9
    assert "FROM influence WHERE case_id = 'digits-label_noise-s0' AND method = 'ewc'" in influence["ask"]
    assert not influence["reused"]
    partition = made.metadata("failure_partition")
    assert partition["failures"] == partition["query"] + partition["query_tuning"] + partition["holdout"]
    assert 0.5 < partition["base_test_accuracy"] < 1
    evaluation = made.metadata("evaluation")
    assert evaluation["missing"] == "nothing"
    [row] = query(made.layout, "SELECT auc FROM detection WHERE method = 'ewc'").to_pylist()
    assert evaluation["auc_ewc"] == row["auc"]
    pictures = [value for value in made.metadata("report").values() if "data:image/png;base64," in str(value)]
    assert pictures


def test_dagster_and_mlflow_lead_to_each_other(made: Made) -> None:
    from mlflow import MlflowClient

    from repair_pipeline.tracking.runs import tracking_uri

    tracked = made.metadata("tracked_run")
    assert f"/runs/{tracked['mlflow_run_id']}" in tracked["mlflow_run"]
    tags = MlflowClient(tracking_uri(made.layout)).get_run(tracked["mlflow_run_id"]).data.tags
    assert tags["dagster.run_id"] == made.result.run_id
    assert (tags["dagster.asset"], tags["dagster.partition"]) == ("tracked_run", PRESET)


def test_nothing_is_pickled(made: Made) -> None:
    protocol = b"\x80"  # what every pickle since protocol 2 begins with
    pickled = [path for path in made.layout.home.rglob("*") if path.is_file() and path.read_bytes()[:1] == protocol]
    assert pickled == []
