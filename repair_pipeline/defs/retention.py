"""The job that clears old cases, and Dagster's own records of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from repair_pipeline.defs.partitions import CASES
from repair_pipeline.pipeline.retention import remove, whole_cases
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PARTITION = "dagster/partition"


@dg.op(description="Clear the cases that are older than the setting keep_days, as repair gc does.")
def clear_old_cases(context: dg.OpExecutionContext) -> None:
    """Clear the cases that are older than the setting ``keep_days``."""
    layout, now, days = Layout.current(), datetime.now(UTC), read_settings().keep_days
    removed = remove(layout, now, days)
    runs = forget_runs(context.instance, layout, now, days)
    context.log.info(
        f"{len(removed.cases)} cases cleared, {removed.bytes / 1e6:,.1f} MB; "
        f"{removed.runs} runs of MLflow and {runs} of Dagster deleted"
    )


@dg.job(executor_def=dg.in_process_executor, description="Clear old cases: their verdicts and patches are kept.")
def clean_up() -> None:
    """Clear old cases."""
    clear_old_cases()


@dg.schedule(
    job=clean_up,
    cron_schedule=read_settings().nightly,
    description="Clears the cases that are older than the setting keep_days, at the times of the setting nightly.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def nightly_clean_up() -> dg.RunRequest:
    """Clears the cases that are older than the setting ``keep_days``."""
    return dg.RunRequest()


def _events(layout: Layout, run_id: str) -> Path:
    """The database of a run's events, where Dagster keeps one for each run: it deletes the rows, and not the file."""
    return layout.dagster_home / "history" / "runs" / f"{run_id}.db"


def forget_runs(instance: dg.DagsterInstance, layout: Layout, now: datetime, days: int) -> int:
    """Delete Dagster's runs of cases that hold nothing any more, with their partitions, and its old runs of no case.

    Args:
        instance: Dagster's.
        layout: where the cases are.
        now: the time that ages are counted from.
        days: a run that is younger is kept.

    Returns:
        The number of runs.
    """
    whole = whole_cases(layout)
    old = instance.get_runs(dg.RunsFilter(statuses=_ENDED, created_before=now - timedelta(days=days)))
    gone = [run for run in old if run.tags.get(_PARTITION) not in whole]
    for run in gone:
        instance.delete_run(run.run_id)
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        _events(layout, run.run_id).unlink(missing_ok=True)
    for key in {run.tags[_PARTITION] for run in gone if _PARTITION in run.tags}:
        instance.delete_dynamic_partition(str(CASES.name), key)
    return len(gone)
