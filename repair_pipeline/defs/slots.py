"""Pool slots that are still held by runs that were killed."""

from __future__ import annotations

import os

import dagster as dg
from dagster import DagsterEventType


def stuck_slots(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """The steps that hold a slot though their run has ended or its process is gone, by run id."""
    held: dict[str, list[str]] = {}
    for pool in instance.event_log_storage.get_concurrency_keys():
        for slot in instance.event_log_storage.get_concurrency_info(pool).claimed_slots:
            held.setdefault(slot.run_id, []).append(slot.step_key)
    return {run_id: steps for run_id, steps in held.items() if not _alive(instance, run_id)}


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free every slot that a run holds."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _alive(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    # A run whose process was killed keeps the status "started", so check that the process exists.
    events = [entry.dagster_event for entry in instance.all_logs(run_id, DagsterEventType.ENGINE_EVENT)]
    pids = [event.engine_event_data.metadata.get("pid") for event in events if event is not None]
    return any(_is_process(int(str(pid.value))) for pid in pids[-1:] if pid is not None)


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process exists, and belongs to another user
    return True
