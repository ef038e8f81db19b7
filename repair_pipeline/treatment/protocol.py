"""What a treatment is."""

from typing import Protocol, runtime_checkable

from torch import nn

from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import Causes


@runtime_checkable
class Treatment(Protocol):
    """Turns the base model into a repaired one. A new treatment is one class in one file."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        """The model after removing ``causes``, in eval mode; the task's own model is left as it is."""


@runtime_checkable
class Penalised(Protocol):
    """A treatment that has a γ: how far it may go from θ̂."""

    def used_gamma(self, task: RepairTask) -> float:
        """The γ it is run with: the one given, or the posterior's own."""
