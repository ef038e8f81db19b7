"""The interface of influence methods, and their catalogue entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from repair_pipeline.problem.cost import Cost
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores, Role


@runtime_checkable
class InfluenceMethod(Protocol):
    """Scores training examples by how much they harm the failures. A new method is one class in one file."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value for every row of ``task.fit``; higher is more harmful."""


@dataclass(frozen=True)
class Method:
    """A catalogue entry: an influence method with its description and role."""

    make: Callable[..., InfluenceMethod]
    """Called with the settings as keyword arguments."""
    line: str
    """One-line description."""
    role: Role = "repair"
    calibrates: bool = False
    """Whether its scores have probabilities already, so that they are not calibrated again."""
    version: int = 1
    """Code version: increased when a change of the code changes scores, so that stored scores are recomputed."""
    needs_classes: bool = False
    """Whether it works only where a label is one of several classes."""
    cost: Cost = field(default_factory=Cost)
    """What it computes with its default settings; the time that ``repair check`` predicts is based on it."""

    def __call__(self, **settings: Any) -> InfluenceMethod:
        """The method with these settings."""
        return self.make(**settings)
