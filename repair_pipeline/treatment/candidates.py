"""The repairs that a search evaluates, and the one that it selects."""

from dataclasses import dataclass

from torch import nn

from repair_pipeline.treatment.fitness import Fitness
from repair_pipeline.types import Causes


@dataclass(frozen=True, eq=False)
class Candidate:
    """A repair that was evaluated: a treatment of one method's most harmful rows."""

    influence_method: str | None
    treatment: str
    causes: Causes
    fitness: Fitness
    model: nn.Module
    epochs: int | None = None
    """The length of a fine-tuning that only screens; None: the candidate was tried in full."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The evaluated candidates, and the selected one."""

    tried: list[Candidate]
    """The first is the control: fine-tuning with nothing removed."""
    kept: Candidate | None
    """None: no candidate within the tolerance beats the control, so nothing is changed."""
    p_value: float
    """Of a one-sided sign test on the tuning failures, the best candidate against the control, times the number of
    candidates it was selected from (Bonferroni); 1 if none was selected."""
