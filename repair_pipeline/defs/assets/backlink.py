"""From MLflow back to Dagster."""

from __future__ import annotations

import json

from mlflow import MlflowClient

from repair_pipeline.pipeline.case import Case
from repair_pipeline.tracking.runs import tracking_uri


def link_back(case: Case, run_id: str) -> None:
    """Tag a case's MLflow run with the Dagster run that vouches for it."""
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    tags = {
        "dagster.run_id": run_id,
        "dagster.asset": "tracked_run",
        "dagster.partition": case.id,
        # The description, which MLflow's page shows as markdown.
        "mlflow.note.content": f"Case `{case.id}`: [its run in Dagster](http://127.0.0.1:3000/runs/{run_id})",
    }
    client = MlflowClient(tracking_uri(case.layout))
    for key, value in tags.items():
        client.set_tag(tracked["run_id"], key, value)
