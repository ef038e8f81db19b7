"""One asset for every step of the pipeline."""

from repair_pipeline.defs.assets.factory import asset
from repair_pipeline.pipeline.steps import STEPS

ASSETS = [asset(step) for step in STEPS]
