"""The interface of treatments, and their catalogue entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import nn

from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.problem.cost import Cost
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.candidates import Candidate, Choice
from repair_pipeline.types import Causes, InfluenceScores, Role


@runtime_checkable
class Treatment(Protocol):
    """Turns the base model into a repaired one. A new treatment is one class in one file."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        """A new model with the causes erased, in eval mode; the task's model is not changed.

        Args:
            task: the model, its data and the query side.
            causes: the rows of D to erase; may be empty.
        """


@runtime_checkable
class Search(Protocol):
    """Evaluates treatments of several methods' causes, and selects a repair before the verdict."""

    def choose(self, task: RepairTask, rankings: Mapping[str, InfluenceScores], settled: Candidate | None) -> Choice:
        """The evaluated candidates and the selected one, by query_tuning and guard alone."""


@runtime_checkable
class Penalised(Protocol):
    """A treatment with a γ, which controls the distance from θ̂."""

    def used_gamma(self, task: RepairTask) -> float:
        """The γ in use: the given one, or the posterior's value."""


Removes = Literal["nothing", "planted", "causes", "chosen"]


@dataclass(frozen=True)
class Recipe:
    """A catalogue entry: a treatment, and which rows its runs remove.

    ``nothing`` and ``planted`` mean one run per case; ``causes`` one run for every influence method that is treated;
    ``chosen`` that the treatment itself selects rows from several methods' scores.
    """

    treatment: Callable[..., Treatment | Search]
    removes: tuple[Removes, ...]
    of_rows: str | None = None
    """One-line description with causes, with ``{rows}`` in their place; None if it takes no causes."""
    alone: str | None = None
    """One-line description without an influence method's causes; None if it always takes causes."""
    causes: CausesRule | None = None
    """How its causes are counted; None: by the case's rule."""
    cross_fits: bool = False
    """Whether it uses predictions of models that were not trained on the row."""
    relabels: bool = False
    """Whether it gives its rows other labels. Then it also repairs those random rows of a control that are wrong."""
    alone_as: Role = "control"
    """The role of a run that removes nothing."""
    version: int = 1
    """Code version: increased when a change of the code changes models, so that stored models are recomputed."""
    needs_classes: bool = False
    """Whether it works only where a label is one of several classes."""
    cost: Cost = field(default_factory=Cost)
    """What one run computes with the default settings; the time that ``repair check`` predicts is based on it."""

    def role(self, removes: Removes, method: Role | None) -> Role:
        """The role of a run.

        Args:
            removes: the rows that the run removes.
            method: the role of the influence method that found them; None if no method did.
        """
        if removes == "planted" or method == "reference":
            return "reference"
        if removes == "nothing":
            return self.alone_as
        return "control" if method == "control" else "repair"
