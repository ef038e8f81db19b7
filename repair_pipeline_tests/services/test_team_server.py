"""Runs and models on a real MLflow server, which goes away and comes back."""

import mlflow
import pytest
import torch
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import read_tensors, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking import registry, runs, store
from repair_pipeline_tests.problems import examples
from repair_pipeline_tests.services.servers import TeamServer

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = TeamServer(tmp_path_factory.mktemp("team"))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(store.TRACKING, f"http://ada:secret@127.0.0.1:{server.port}")
        patch.setenv("REPAIR_MLFLOW_EXPERIMENT", "wards")
        yield server
    server.stop()


@pytest.fixture
def run(server, tmp_path):
    """A home that uses the server, and a finished run on it."""
    layout = Layout(tmp_path / "home")
    with store.using(layout), mlflow.start_run(experiment_id=runs._experiment(layout)) as run:
        mlflow.log_text("{}", "spec.json")
    return layout, run.info


def test_runs_and_artifacts_are_the_servers_and_links_lead_to_it_without_its_password(run, server):
    layout, info = run
    assert info.artifact_uri.startswith("mlflow-artifacts:")
    assert store.open_store(layout).get_experiment(info.experiment_id).name == "wards"
    assert runs.run_url({"experiment_id": info.experiment_id, "run_id": info.run_id}).startswith(f"{server.url}/#/exp")
    assert runs.model_url("wards", 1).startswith(f"{server.url}/#/models/wards")
    assert "secret" not in store.tracking_uri(layout)
    with pytest.raises(InputError, match=f"there is no MLflow run 'nonsense' in {server.url}: copy"):
        runs.tracked(layout, "nonsense")
    assert not (layout.mlflow / "mlflow.db").exists()


def test_a_model_is_published_promoted_and_read_back(run):
    layout, info = run
    model, weights, tests = (
        nn.Linear(3, 2),
        layout.home / "w.safetensors",
        examples(torch.randn(4, 3), torch.ones(4).long()),
    )
    write_tensors(weights, model.state_dict(), {})
    tags = {"repair.model_is": "repaired", "repair.case_id": "wards-1"}
    versions = {
        registry.publish(layout, "wards", model, weights, {"factory": "a:b"}, tests, info.run_id, tags)
        for _ in range(2)
    }
    assert versions == {1}
    registry.set_candidate(layout, "wards", 1)
    assert registry.promote(layout, "wards") == (None, 1)
    uri, file, architecture = registry.resolve(layout, "models:/wards@champion")
    assert (uri, architecture) == ("models:/wards/1", {"factory": "a:b"})
    assert torch.equal(read_tensors(file)[0]["weight"], model.state_dict()["weight"])


def test_a_server_that_goes_away_is_one_line_and_is_used_again_when_it_is_back(run, server):
    layout, info = run
    server.stop()
    store._require_answers.cache_clear()  # a new process has not asked yet
    try:
        with pytest.raises(InputError, match=rf"^MLflow's store {server.url} \(MLFLOW_TRACKING_URI\) does not answer"):
            registry.promote(layout, "wards")
    finally:
        server.start()
    assert store.open_store(layout).get_run(info.run_id).info.status == "FINISHED"
