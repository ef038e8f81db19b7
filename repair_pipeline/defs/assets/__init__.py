"""The assets of a repair, and the events that tell of them."""

from repair_pipeline.defs.assets.factory import definition
from repair_pipeline.defs.assets.lineage import LINEAGE

ASSETS = [definition(together) for together in LINEAGE]
