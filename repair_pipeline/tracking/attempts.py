"""Attempts to log a case: one that was killed or failed leaves no second run beside the finished one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from mlflow import MlflowClient

from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.store import every, masked, tracking_uri

_ATTEMPT = "repair_attempt"


def begin_attempt(layout: Layout, case_id: str, client: MlflowClient, experiment_id: str) -> Mapping[str, str]:
    """Begin to log a case, and delete what its last attempt logged if that was not finished.

    The attempt is written down before its first run exists, so that whoever comes next finds its runs. Another home,
    which may log a case of the same id to the same server, does not.

    Args:
        layout: where the case is stored.
        case_id: the case. Only one process logs it at a time.
        client: of MLflow's store.
        experiment_id: where its runs are logged.

    Returns:
        Tags that every run of the attempt must have from its start.
    """
    record, store = layout.mlflow / "attempts" / f"{case_id}.json", masked(tracking_uri(layout))
    if record.exists():
        last = json.loads(record.read_text(encoding="utf-8"))
        if last["store"] == store:
            _delete_unfinished(client, last)
    attempt = uuid.uuid4().hex
    write_text(record, json.dumps({"attempt": attempt, "experiment_id": experiment_id, "store": store}))
    return {_ATTEMPT: attempt}


def _delete_unfinished(client: MlflowClient, last: Mapping[str, str]) -> None:
    of_attempt = f"tags.`{_ATTEMPT}` = '{last['attempt']}'"
    runs = list(every(lambda token: client.search_runs([last["experiment_id"]], of_attempt, page_token=token)))
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    if all(parent.info.status != "FINISHED" for parent in parents):
        for run in runs:
            client.delete_run(run.info.run_id)
