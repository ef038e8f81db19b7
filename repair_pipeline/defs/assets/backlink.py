"""Links between a case's MLflow run and its pages in Dagster."""

from __future__ import annotations

import json

import dagster as dg

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.settings import read_settings
from repair_pipeline.tracking.runs import run_url
from repair_pipeline.tracking.store import open_store


def link_back(case: Case, run_id: str) -> None:
    """Tag a case's MLflow run with its Dagster run, and link each asset of the case to the MLflow run.

    The assets were materialised before the MLflow run existed, so the link is an observation on their pages.

    Args:
        case: a case that has been tracked.
        run_id: the Dagster run.
    """
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    port = read_settings().dagster_port
    tags = {
        "dagster.run_id": run_id,
        "dagster.asset": "tracked_run",
        "dagster.partition": case.id,
        # MLflow's page shows this tag as the description, in markdown.
        "mlflow.note.content": f"Case `{case.id}`: [its run in Dagster](http://127.0.0.1:{port}/runs/{run_id})",
    }
    client = open_store(case.layout)
    for key, value in tags.items():
        client.set_tag(tracked["run_id"], key, value)
    context, link = dg.OpExecutionContext.get(), {"mlflow_run": dg.MetadataValue.url(run_url(tracked))}
    for step in STEPS:
        if any(file.path.exists() for file in step.files(case)):
            context.log_event(dg.AssetObservation(step.name, partition=case.id, metadata=link))
