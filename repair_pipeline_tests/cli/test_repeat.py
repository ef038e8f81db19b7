"""Repeating a case from its MLflow run alone."""

import json
import shutil

import mlflow
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from repair_pipeline.cli.main import app
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.tracking import runs
from repair_pipeline.tracking.store import tracking_uri, using

CASE = """
dataset: {name: digits, train_size: 300}
training: {max_epochs: 3}
corruption: {rate: 0.3, confusion: {1: {7: 1.0}, 7: {1: 1.0}}}
causes: {top: planted}
influence: {loss: {}}
treat: [loss]
treatments: {selective_dampening: {}, newton: {}, base: {}}
"""
RECOVERY = "SELECT * EXCLUDE (seconds) FROM recovery"


def repair(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A case that was run and tracked, and of which only the MLflow run is left."""
    folder = tmp_path_factory.mktemp("repeat")
    (folder / "tiny.yaml").write_text(CASE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPAIR_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", "200")
        patch.setattr(runs, "log_model", lambda *args: None)  # the export takes longer than all the rest
        ran = repair("run", str(folder / "tiny.yaml"))
        assert ran.exit_code == 0, ran.stderr
        (folder / "tiny.yaml").unlink()
        layout = Layout(folder / "home")
        before = query(layout, RECOVERY)
        shutil.rmtree(layout.results)
        yield layout, before


def parent_of(layout: Layout) -> tuple[MlflowClient, str]:
    client = MlflowClient(tracking_uri(layout))
    experiment = client.get_experiment_by_name("repair_pipeline")
    tracked = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return client, next(run.info.run_id for run in tracked if "mlflow.parentRunId" not in run.data.tags)


def test_an_mlflow_run_is_enough_to_repeat_the_case(home):
    layout, before = home
    client, run_id = parent_of(layout)
    again = repair("run", "--from-mlflow", run_id)
    assert again.exit_code == 0, again.stderr
    assert "the data have changed" not in again.stderr
    assert before.num_rows == 3
    assert query(layout, RECOVERY).equals(before)
    repeated = json.loads(next(layout.results.glob("tracked_runs/*/run.json")).read_text())["run_id"]
    assert repeated != run_id
    for tag, value in client.get_run(repeated).data.tags.items():
        if tag.startswith("repair."):
            assert value == client.get_run(run_id).data.tags[tag]
    assert client.get_run(repeated).data.tags["repair.judged"] == "loss → selective_dampening", (
        "the first that the case names"
    )


def test_a_child_run_leads_to_its_case_and_changed_data_give_a_warning(home):
    layout, _ = home
    client, run_id = parent_of(layout)
    experiment = client.get_run(run_id).info.experiment_id
    child = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{run_id}'")[0].info.run_id
    parent = runs.tracked(layout, run_id)
    assert runs.tracked(layout, child) == parent
    assert parent.case_id.startswith("tiny-")
    client.set_tag(run_id, "repair.fingerprint", "of-other-data")
    again = repair("run", "--from-mlflow", child)
    assert again.exit_code == 0
    [line] = [line for line in again.stderr.splitlines() if line.startswith("repair: ")]
    assert "the data have changed" in line
    assert "it was of-other-data" in line
    assert parent.fingerprint in line
    client.set_tag(run_id, "repair.fingerprint", parent.fingerprint)
    other = repair("run", "--from-mlflow", child, "--set", "seed=1")
    assert other.exit_code == 0
    assert "the data have changed" not in other.stderr, "other data were asked for"


def refused(*arguments: str) -> str:
    result = repair("run", *arguments)
    assert result.exit_code == 2
    [line] = result.stderr.strip().splitlines()
    assert line.startswith("repair: ")
    return line


def test_a_run_that_is_not_of_a_case_is_refused_in_one_line(home):
    layout, _ = home
    client, run_id = parent_of(layout)
    assert "there is no MLflow run 'nonsense'" in refused("--from-mlflow", "nonsense")
    with using(layout), mlflow.start_run(experiment_id=client.get_run(run_id).info.experiment_id) as other:
        pass
    assert "has no spec.json" in refused("--from-mlflow", other.info.run_id)
    tags = {key: value for key, value in client.get_run(run_id).data.tags.items() if key.startswith("repair.")}
    with using(layout), mlflow.start_run(experiment_id=other.info.experiment_id, tags=tags) as invalid:
        mlflow.log_text("{", "spec.json")
    assert "not JSON" in refused("--from-mlflow", invalid.info.run_id)
    with using(layout), mlflow.start_run(experiment_id=other.info.experiment_id, tags=tags) as older:
        mlflow.log_text(
            json.dumps({"name": "older", "dataset": {"name": "digits", "train_size": 300}, "datum": 1}), "spec.json"
        )
    assert "datum is not a key of a case" in refused("--from-mlflow", older.info.run_id)


def test_a_case_is_named_in_one_way_only(home):
    assert "neither is given" in refused()
    assert "give one of them" in refused("digits-label_noise-s0", "--from-mlflow", "abc")


def test_nothing_is_written_if_nothing_was_tracked(tmp_path, monkeypatch):
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "empty"))
    assert "there is no MLflow run 'abc', as " in refused("--from-mlflow", "abc")
    assert not (tmp_path / "empty").exists()
