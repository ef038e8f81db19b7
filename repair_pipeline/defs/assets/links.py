"""Links between a case's MLflow run, its report, its review and its pages in Dagster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg

from repair_pipeline.defs.assets.lineage import EVERY
from repair_pipeline.defs.assets.values import command
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.summary import summary
from repair_pipeline.settings import read_settings
from repair_pipeline.tracking.runs import report_url, run_url
from repair_pipeline.tracking.store import open_store


def links(case: Case) -> dict[str, Any]:
    """The verdict on a tracked case, its report and its run in MLflow, and the command for its review."""
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    return {
        "verdict": summary(case).verdict,
        "report": dg.MetadataValue.url(report_url(tracked)),
        "mlflow_run": dg.MetadataValue.url(run_url(tracked)),
        "review": command(f"repair review {case.id}"),
    }


def link_back(case: Case, run_id: str) -> Iterator[dg.AssetObservation]:
    """Tag a case's MLflow run with its Dagster run, and link each asset of the case to report, MLflow and review.

    The assets were materialised before the MLflow run existed, so the links are observations on their pages.

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
    shown = links(case)
    for asset in EVERY:
        if asset.files(case):
            yield dg.AssetObservation(asset.name, partition=case.id, metadata=shown)
