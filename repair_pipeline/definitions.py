"""Dagster's door: everything that a code location serves."""

import dagster as dg

from repair_pipeline.defs.assets import ASSETS
from repair_pipeline.defs.jobs import nightly, repair, repair_again, repair_multiprocess, study
from repair_pipeline.defs.resources import Device, Store

definitions = dg.Definitions(
    assets=ASSETS,
    jobs=[repair, repair_again, repair_multiprocess, study],
    schedules=[nightly],
    resources={"device": Device(), "store": Store()},
    executor=dg.in_process_executor,
)
