"""What an influence method is."""

from typing import Protocol, runtime_checkable

from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import InfluenceScores


@runtime_checkable
class InfluenceMethod(Protocol):
    """Scores every training example by the harm it does to the failures. A new method is one class in one file."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value for every row of ``task.fit``; greater is more harmful."""
