"""Making a whole case, or a part of it."""

from __future__ import annotations

import dagster as dg

repair = dg.define_asset_job(
    "repair",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Make all of a case, step by step in one process.",
)
base = dg.define_asset_job(
    "base",
    selection=dg.AssetSelection.assets("corrupted_dataset", "base_model", "fisher_diagonal"),
    executor_def=dg.in_process_executor,
    description="What lies upstream of the failures, so that it is there when they come.",
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
