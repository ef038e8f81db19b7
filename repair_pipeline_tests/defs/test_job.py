"""A reduced preset, run by the job of workspace.yaml."""

import torch
from dagster._core.workspace.load import location_origins_from_yaml_paths
from mlflow.entities import Run

from repair_pipeline.definitions import definitions
from repair_pipeline.defs.assets.lineage import EVERY, LINEAGE
from repair_pipeline.defs.partitions import CASES
from repair_pipeline.defs.switches import WORKSPACE
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.store import tracking_uri
from repair_pipeline_tests.defs.conftest import PRESET, ROOT, SMALL, SMALL_ID, TINY, CaseRun, Workspace


def test_the_commands_serve_what_dagster_dev_serves_in_a_checkout() -> None:
    by_commands, by_checkout = (
        location_origins_from_yaml_paths([str(file)]) for file in (WORKSPACE, ROOT / "workspace.yaml")
    )
    assert [origin.location_name for origin in by_checkout] == ["repair_pipeline"]
    assert by_commands == by_checkout


def test_every_asset_is_made_and_every_check_passes(case_run: CaseRun) -> None:
    assert case_run.result.success
    assert case_run.materialised == {asset.name for asset in EVERY if not asset.optional}
    assert len(case_run.steps) == len(LINEAGE)
    verdicts = {
        (check.asset_key.to_user_string(), check.check_name): check
        for check in case_run.result.get_asset_check_evaluations()
    }
    assert all(check.passed for check in verdicts.values())
    blocking = {name for name, check in verdicts.items() if check.blocking}
    assert {("corrupted_dataset", "planted_exactly"), ("failure_partition", "splits_disjoint_and_covering")} < blocking
    assert ("influence", "finite_scores") in blocking


def test_the_job_study_runs_a_case_up_to_its_verdict() -> None:
    job = definitions.get_job_def("study")
    assets = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert assets == {asset.name for asset in EVERY} - {"report", "tracked_run", "candidate"}
    assert job.partitions_def == CASES


def test_dagster_and_the_shell_write_the_same_values(case_run: CaseRun, tmp_path) -> None:
    shell = Layout(tmp_path)
    case = Case(SMALL, shell, data_dir(), torch.device("cpu"))
    for step in STEPS[:-3]:
        step.run(case)
    for sql in (
        "SELECT * FROM examples ORDER BY ALL",
        "SELECT * FROM influence ORDER BY ALL",
        "SELECT * EXCLUDE (seconds) FROM detection ORDER BY ALL",
        "SELECT * EXCLUDE (seconds) FROM recovery ORDER BY ALL",
    ):
        by_dagster = query(case_run.layout, sql)
        assert len(by_dagster) > 0
        assert by_dagster.equals(query(shell, sql))


def test_the_case_is_registered_as_finished(case_run: CaseRun) -> None:
    assert query(case_run.layout, "SELECT case_id, status FROM cases").to_pylist() == [
        {"case_id": SMALL_ID, "status": "finished"}
    ]


def rows(where: str, case_run: CaseRun) -> int:
    return query(case_run.layout, f"SELECT example_id FROM examples WHERE {where}").num_rows


def pictures(metadata: dict[str, object]) -> set[str]:
    return {name for name, value in metadata.items() if "](data:image/png;base64," in str(value)}


def test_pages_show_numbers_pictures_and_a_query_for_more(case_run: CaseRun) -> None:
    influence = case_run.metadata("influence")
    assert influence["dagster/row_count"] == len(SMALL.influence) * rows("split = 'fit'", case_run)
    assert influence["auc_ewc"] > 0.9
    assert influence["headline"] == f"3 of 3 methods; ewc finds the planted rows with AUC {influence['auc_ewc']:.3f}"
    table = case_run.materialisation("influence").metadata["methods"].records
    assert {row.data["method"]: row.data["auc"] for row in table} == {
        method: round(influence[f"auc_{method}"], 4) for method in SMALL.influence
    }
    assert f"FROM influence WHERE case_id = '{SMALL_ID}'" in influence["ask"]
    assert not influence["reused"]
    assert pictures(influence) == {"influence_histogram", "detection_curve"}
    partition = case_run.metadata("failure_partition")
    assert pictures(partition) == {"failure_classes"}
    assert partition["failures"] == partition["query"] + partition["query_tuning"] + partition["holdout"]
    assert 0.5 < partition["base_test_accuracy"] < 1
    evaluation = case_run.metadata("evaluation")
    assert pictures(evaluation) == {"trade_off"}
    assert evaluation["missing"] == "nothing"
    [row] = query(case_run.layout, "SELECT auc FROM detection WHERE method = 'ewc'").to_pylist()
    assert influence["auc_ewc"] == row["auc"]


def test_a_repairs_page_shows_its_cost_and_nothing_of_the_holdout(case_run: CaseRun) -> None:
    page = case_run.metadata("repaired_models")
    planted = rows("split = 'fit' AND corrupted", case_run)
    assert planted > 0
    removed = [page[f"removed_{repair}"] for repair in ("ewc_finetune", "random_finetune", "finetune")]
    assert removed == [planted, planted, 0]
    assert page["seconds_ewc_finetune"] > 0
    assert 0 < page["tuning_accuracy_ewc_finetune"] <= 1
    assert not [name for name in page if "holdout" in name]
    assert len(page["models"].records) == len(query(case_run.layout, "SELECT * FROM recovery"))
    assert f"FROM recovery WHERE case_id = '{SMALL_ID}'" in page["ask"]


def test_an_events_metadata_is_small(case_run: CaseRun) -> None:
    bytes_of = {name: len(str(case_run.metadata(name)).encode()) for name in case_run.materialised}
    assert max(bytes_of.values()) < 150_000, bytes_of


def test_sql_dagster_and_mlflow_agree_on_the_judged_repair(case_run: CaseRun) -> None:
    recovery = query(case_run.layout, "SELECT * FROM recovery").to_pylist()
    row = next(row for row in recovery if (row["influence_method"], row["treatment"]) == ("ewc", "finetune"))
    controls = [row["holdout_accuracy"] for row in recovery if row["treatment"] == "learn_guard"]
    controls += [
        row["holdout_accuracy"]
        for row in recovery
        if row["treatment"] == "finetune" and row["influence_method"] in (None, "random")
    ]
    metrics = {name: row[name] for name in row if name.endswith("_accuracy")}
    metrics["over_best_control"] = row["holdout_accuracy"] - max(controls)
    evaluation, parent = case_run.metadata("evaluation"), tracked_run(case_run)
    assert evaluation.items() >= metrics.items()
    assert parent.data.metrics.items() >= metrics.items()
    assert evaluation["judged_repair"] == parent.data.tags["repair.judged"] == "ewc → finetune"
    assert case_run.metadata("verdict")["verdict"] == parent.data.tags["repair.verdict"] == "no gate"


def test_runs_share_the_names_of_what_is_compared(case_run: CaseRun) -> None:
    from mlflow import MlflowClient

    parent, client = tracked_run(case_run), MlflowClient(tracking_uri(case_run.layout))
    of_parent = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    children = client.search_runs([parent.info.experiment_id], of_parent)
    repairs = [run.data for run in children if run.data.params["step"] == "repair"]
    methods = [run.data for run in children if run.data.params["step"] == "influence"]
    assert len(repairs) == len(query(case_run.layout, "SELECT * FROM recovery"))
    assert {run.params["influence_method"] for run in methods} == set(SMALL.influence)
    for run in repairs:
        assert {"holdout_accuracy", "remaining_accuracy"} <= parent.data.metrics.keys() & run.metrics.keys()
    assert all("auc" in parent.data.metrics.keys() & run.metrics.keys() for run in methods)


def tracked_run(case_run: CaseRun) -> Run:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri(case_run.layout)).get_run(case_run.metadata("tracked_run")["mlflow_run_id"])


def test_mlflow_lists_what_a_case_was_made_from(case_run: CaseRun) -> None:
    [row] = query(case_run.layout, "SELECT fingerprint FROM cases").to_pylist()
    [tracked] = tracked_run(case_run).inputs.dataset_inputs
    assert (tracked.dataset.name, tracked.dataset.digest) == ("digits", row["fingerprint"])
    assert [(tag.key, tag.value) for tag in tracked.tags] == [("mlflow.data.context", "dataset.name")]


def test_dagster_knows_by_which_code_and_from_what_an_asset_was_made(case_run: CaseRun) -> None:
    case = Case(SMALL, case_run.layout, data_dir(), torch.device("cpu"))
    for asset in EVERY:
        if asset.name in case_run.materialised:
            tags = case_run.materialisation(asset.name).tags or {}
            assert tags["dagster/code_version"] == str(sum(step.version for step in asset.steps))
            assert tags["dagster/data_version"] == asset.data_version(case)


def test_a_data_version_changes_with_any_file_of_the_asset(workspace: Workspace) -> None:
    case = workspace.case(TINY)
    for asset in EVERY:
        for path in asset.files(case):
            before, content = asset.data_version(case), path.read_bytes()
            path.write_bytes(content + b" ")
            assert asset.data_version(case) != before, path
            path.write_bytes(content)
            assert asset.data_version(case) == before


def test_dagster_and_mlflow_lead_to_each_other(case_run: CaseRun) -> None:
    tracked, tags = case_run.metadata("tracked_run"), tracked_run(case_run).data.tags
    assert f"/runs/{tracked['mlflow_run_id']}" in tracked["mlflow_run"]
    assert f"/runs/{tracked['mlflow_run_id']}/artifacts/report.html" in tracked["report"]
    assert tags["dagster.run_id"] == case_run.result.run_id
    assert (tags["dagster.asset"], tags["dagster.partition"]) == ("tracked_run", SMALL_ID)
    observations = [
        event.asset_observation_data.asset_observation for event in case_run.result.get_asset_observation_events()
    ]
    assert {observation.asset_key.to_user_string() for observation in observations} == case_run.materialised
    for observation in observations:
        assert observation.partition == SMALL_ID
        assert {name: value.value for name, value in observation.metadata.items()} == {
            name: tracked[name] for name in ("verdict", "report", "mlflow_run", "review")
        }
    assert f"repair review {SMALL_ID}" in tracked["review"]


def test_the_launchpad_is_filled_in_for_each_of_the_common_runs() -> None:
    forced = {"resources": {"store": {"config": {"force": True}}}}
    for name, shown in {"repair": {}, "repair_again": forced}.items():
        job = definitions.resolve_job_def(name)
        assert job.get_run_config_for_partition_key(PRESET) == shown
        assert {key.to_user_string() for key in job.asset_layer.selected_asset_keys} == {asset.name for asset in EVERY}


def test_nothing_is_pickled(case_run: CaseRun) -> None:
    protocol = b"\x80"  # the first byte of every pickle since protocol 2
    pickled = [path for path in case_run.layout.home.rglob("*") if path.is_file() and path.read_bytes()[:1] == protocol]
    assert pickled == []
