"""Making a whole case, on demand and by night."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from repair_pipeline.defs.partitions import CASES

repair = dg.define_asset_job(
    "repair",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Make all of a case, step by step in one process.",
)
# The launchpad shows what a run may choose, at its defaults; a partitioned job has one configuration and no presets, so
# that the other common choice is a job of its own.
repair_again = dg.define_asset_job(
    "repair_again",
    selection=dg.AssetSelection.all(),
    config={"resources": {"store": {"config": {"force": True}}}},
    executor_def=dg.in_process_executor,
    description="Make all of a case again, what is finished too.",
)
study = dg.define_asset_job(
    "study",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("report", "tracked_run", "candidate"),
    executor_def=dg.in_process_executor,
    description="A case up to its tables. Backfill it over the cases that `repair study NAME --register` adds.",
)
repair_multiprocess = dg.define_asset_job(
    "repair_multiprocess",
    selection=dg.AssetSelection.all(),
    # Forked from a server that has imported the definitions: a new process imports torch and MLflow for every step.
    executor_def=dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["repair_pipeline.definitions"]}}}
    ),
    description="Make all of a case, a process a step: methods side by side, the heavy ones in turn (pool gpu).",
)


@dg.schedule(job=repair, cron_schedule="0 2 * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def nightly(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Every registered case, once a night. What is finished is reused."""
    for case in context.instance.get_dynamic_partitions(str(CASES.name)):
        yield dg.RunRequest(run_key=f"{case}:{context.scheduled_execution_time:%Y-%m-%d}", partition_key=case)
