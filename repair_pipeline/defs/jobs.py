"""The jobs: all of a case, or a part of it."""

from __future__ import annotations

import dagster as dg

repair = dg.define_asset_job(
    "repair",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Run all of a case, step by step in one process.",
)
base = dg.define_asset_job(
    "base",
    selection=dg.AssetSelection.assets("corrupted_dataset", "base_model", "fisher_diagonal"),
    executor_def=dg.in_process_executor,
    description="Run the steps that do not depend on the failures, before failures are reported.",
)
# A partitioned job has a single default configuration and no presets, so the other common configuration is a separate
# job.
repair_again = dg.define_asset_job(
    "repair_again",
    selection=dg.AssetSelection.all(),
    config={"resources": {"store": {"config": {"force": True}}}},
    executor_def=dg.in_process_executor,
    description="Run all of a case again, including finished steps.",
)
study = dg.define_asset_job(
    "study",
    selection=dg.AssetSelection.all() - dg.AssetSelection.assets("report", "tracked_run", "candidate"),
    executor_def=dg.in_process_executor,
    description="Run a case up to its tables. Backfill it over the cases that `repair study NAME --register` adds.",
)
repair_multiprocess = dg.define_asset_job(
    "repair_multiprocess",
    selection=dg.AssetSelection.all(),
    # Steps are forked from a server that has imported the definitions; a new process for each would import torch and
    # MLflow again.
    executor_def=dg.multiprocess_executor.configured(
        {"start_method": {"forkserver": {"preload_modules": ["repair_pipeline.definitions"]}}}
    ),
    description="Run all of a case with a process for each step; heavy steps in turn (pool gpu).",
)
