"""MLflow runs for tests of the registry."""

import mlflow
import pytest

from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.store import REGISTRY, TRACKING, using


@pytest.fixture(autouse=True, scope="session")
def _no_server_of_the_developers():
    with pytest.MonkeyPatch.context() as patch:
        for variable in (TRACKING, REGISTRY):
            patch.delenv(variable, raising=False)
        yield


def new_run(layout: Layout) -> str:
    """The id of an MLflow run whose artifacts are in the home."""
    with using(layout):
        experiment = mlflow.get_experiment_by_name("tests")
        location = (layout.mlflow / "artifacts").as_uri()
        id = experiment.experiment_id if experiment else mlflow.create_experiment("tests", artifact_location=location)
        with mlflow.start_run(experiment_id=id) as run:
            return run.info.run_id
