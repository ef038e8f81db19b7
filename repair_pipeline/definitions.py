"""Dagster's entry point: everything that the code location serves."""

import dagster as dg

from repair_pipeline.defs.assets import ASSETS
from repair_pipeline.defs.jobs import base, repair, repair_again, repair_multiprocess, study
from repair_pipeline.defs.nightly import new_champion, new_failures, nightly, not_accepted, run_failed
from repair_pipeline.defs.resources import Device, Store
from repair_pipeline.defs.retention import clean_up, nightly_clean_up

definitions = dg.Definitions(
    assets=ASSETS,
    jobs=[repair, repair_again, repair_multiprocess, study, base, clean_up],
    schedules=[nightly, nightly_clean_up],
    sensors=[new_failures, new_champion, run_failed, not_accepted],
    resources={"device": Device(), "store": Store()},
    executor=dg.in_process_executor,
)
