"""What an influence method is, and its entry in the catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores, Role


@runtime_checkable
class InfluenceMethod(Protocol):
    """Scores every training example by the harm it does to the failures. A new method is one class in one file."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value for every row of ``task.fit``; greater is more harmful."""


@dataclass(frozen=True)
class Method:
    """An entry of the catalogue."""

    make: Callable[..., InfluenceMethod]
    """Called with settings by name."""
    line: str
    """What it does, in one line."""
    role: Role = "repair"
    version: int = 1
    """Of its code: raised when the same problem comes to other scores, which are computed again then."""

    def __call__(self, **settings: Any) -> InfluenceMethod:
        """The method with these settings."""
        return self.make(**settings)
