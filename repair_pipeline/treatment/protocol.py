"""What a treatment is, and its entry in the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from torch import nn

from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Causes, Role

if TYPE_CHECKING:
    from repair_pipeline.treatment.auto import Auto


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


Removes = Literal["nothing", "planted", "causes", "chosen"]


@dataclass(frozen=True)
class Recipe:
    """An entry of the catalogue: a treatment and the rows it is run without.

    ``nothing`` and ``planted`` are one run a case; ``causes`` is one run for every influence method that is treated;
    ``chosen`` is what the treatment itself makes of several methods' scores.
    """

    treatment: Callable[..., Treatment | Auto]
    removes: tuple[Removes, ...]
    opposes: bool = False
    """It moves away from the given labels of what it removes, so that it calls every such row something else."""
    of_rows: str | None = None
    """What it is with causes, in one line with ``{rows}`` for them; None where it takes none."""
    alone: str | None = None
    """What it is with no method's causes, in one line."""
    alone_as: Role = "control"
    """What it is there for where nothing is removed."""
    version: int = 1
    """Of its code: raised when the same problem comes to another model, which is made again then."""

    def role(self, removes: Removes, method: Role | None) -> Role:
        """What a run of it is there for.

        Args:
            removes: the rows that it is run without.
            method: the role of the influence method whose causes they are, if they are one's.
        """
        if removes == "planted" or method == "reference":
            return "reference"
        if removes == "nothing":
            return self.alone_as
        return "control" if method == "control" else "repair"
