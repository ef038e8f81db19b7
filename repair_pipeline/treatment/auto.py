"""Choosing a repair by what may be read before the verdict: query_tuning and guard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass as value
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.stats import binomtest
from torch import nn

from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.treatment.fitness import Fitness, fitness
from repair_pipeline.treatment.guarded import Tolerance
from repair_pipeline.treatment.learning import LearnQuery, Relabel
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Combined, Finetune
from repair_pipeline.types import Causes, Examples, InfluenceScores


@value(frozen=True, eq=False)
class Candidate:
    """A repair that was tried: a treatment of one method's most harmful rows."""

    influence_method: str | None
    treatment: str
    causes: Causes
    fitness: Fitness
    model: nn.Module


@value(frozen=True, eq=False)
class Choice:
    """What was tried, and what was kept of it."""

    tried: list[Candidate]
    """Fine-tuning with nothing removed, the control, comes first."""
    kept: Candidate | None
    """None: nothing within the tolerance beats the control, so it is not a data problem and nothing is changed."""
    p_value: float
    """One-sided sign test on the tuning failures, the best candidate against the control, times the number of
    candidates that it is the best of (Bonferroni); 1 where there is none."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Auto:
    """Tries causes, then treatments, and keeps what repairs most of query_tuning and spares the guard.

    First the causes: fine-tuning without each method's most harmful rows, in several numbers. Then, on the best of
    these causes, the pool's other treatments. What does not beat fine-tuning with nothing removed is no repair.
    """

    pool: Literal["data_only", "all"] = "data_only"
    """``data_only``: nothing is trained on the failures, the paper's discipline. ``all``: also what is."""
    methods: tuple[str, ...] = ("ewc",)
    """Influence methods whose causes are tried; the case must run them."""
    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.2, 0.3)
    """How many causes are tried, as fractions of D."""
    tolerance: Tolerance = 0.015

    def choose(self, task: RepairTask, rankings: Mapping[str, InfluenceScores], settled: Candidate | None) -> Choice:
        """The best candidate within the tolerance. The holdout is not there to be read.

        Args:
            rankings: scores by influence method.
            settled: whose causes to take, where a narrower pool has chosen them already.
        """
        control = _try(task, None, "finetune", Causes(()))
        tried = [settled] if settled else list(self._without_causes(task, rankings))
        best = max(tried, key=self._worth)
        for treatment in _TREATMENTS[self.pool]:
            tried.append(_try(task, best.influence_method, treatment, best.causes))
        best = max(tried, key=self._worth)
        mended, by_itself = best.fitness.tuning_accuracy, control.fitness.tuning_accuracy
        if self._worth(best) < 0 or mended <= by_itself:
            return Choice([control, *tried], None, 1.0)
        # What was settled is the best of the narrower pool's candidates.
        considered = len(tried) + (self._narrower_candidates if settled else 0)
        p_value = _sign_test(task.tests.query_tuning, best.model, control.model)
        return Choice([control, *tried], best, min(1.0, considered * p_value))

    @property
    def _narrower_candidates(self) -> int:
        return len(self.methods) * len(self.fractions) + len(_TREATMENTS["data_only"]) - 1

    def _worth(self, candidate: Candidate) -> float:
        return candidate.fitness.worth(self.tolerance)

    def _without_causes(self, task: RepairTask, rankings: Mapping[str, InfluenceScores]) -> Iterator[Candidate]:
        for method in self.methods:
            for fraction in self.fractions:
                yield _try(task, method, "finetune", rankings[method].top(round(fraction * len(task.fit))))


_TREATMENTS: Mapping[str, Mapping[str, Callable[[], Treatment]]] = {
    "data_only": {"ewc_deletion": EWCDeletion},
    "all": {"combined": Combined, "learn_query": LearnQuery, "relabel": Relabel},
}
"""What is tried beside fine-tuning, on the best causes."""


TRIED = ("finetune", *(name for pool in _TREATMENTS.values() for name in pool))
"""Treatments whose code decides what a search comes to."""


def _try(task: RepairTask, method: str | None, treatment: str, causes: Causes) -> Candidate:
    made = {"finetune": Finetune, **_TREATMENTS["data_only"], **_TREATMENTS["all"]}[treatment]()
    # Nothing is trained on the guard rows that it is judged by.
    _, trained = watched_and_trained(task.tests.guard)
    model = made.repaired(replace(task, tests=replace(task.tests, guard=trained)), causes)
    return Candidate(method, treatment, causes, fitness(task, model), model)


def _sign_test(tuning: Examples, model: nn.Module, control: nn.Module) -> float:
    right, control_right = (predictions(one, tuning) == tuning.labels.cpu() for one in (model, control))
    gained, lost = int((right & ~control_right).sum()), int((control_right & ~right).sum())
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0
