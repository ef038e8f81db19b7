"""Selecting a repair by its results on query_tuning and guard, which may be read before the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy.stats import binomtest
from torch import nn

from repair_pipeline.problem.calibration import FALSE_SHARE, within_false_share
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import Schedule, right
from repair_pipeline.treatment.candidates import Candidate, Choice
from repair_pipeline.treatment.correct import Correct
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.treatment.fitness import fitness
from repair_pipeline.treatment.guarded import Tolerance
from repair_pipeline.treatment.learning import LearnQuery, Relabel
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Combined, Finetune
from repair_pipeline.types import Causes, Examples, InfluenceScores

Pool = Literal["data_only", "all"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Auto:
    """Evaluates causes, then treatments, and selects what repairs most of query_tuning without damage to the guard.

    First the causes: fine-tuning without the most harmful rows, for each method, fraction and, where scores are
    calibrated, number by ``causes.fdr``. If these are many, short fine-tunings screen them first (successive halving).
    Then, with the best causes, the pool's other treatments, those that correct labels only where the case cross-fits.
    A candidate must beat fine-tuning with nothing removed to be a repair.
    """

    pool: Pool = "data_only"
    """``data_only``: no treatment trains on the failures, as in the paper. ``all``: also treatments that do."""
    methods: tuple[str, ...] = ("ewc",)
    """Influence methods whose causes are evaluated; the case must run them."""
    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.2, 0.3)
    """Numbers of causes to evaluate, as fractions of D."""
    tolerance: Tolerance = 0.015

    def choose(self, task: RepairTask, rankings: Mapping[str, InfluenceScores], settled: Candidate | None) -> Choice:
        """The best candidate within the tolerance. The task does not contain the holdout.

        Args:
            task: the repair task.
            rankings: scores by influence method.
            settled: the candidate that a narrower pool selected, whose causes are used; None evaluates causes first.
        """
        control = _evaluate(task, None, "finetune", Causes(()))
        candidates = [settled] if settled else list(self._finetuned(task, rankings))
        best = self._best(candidates)
        for treatment in _tried(self.pool, task):
            candidates.append(_evaluate(task, best.influence_method, treatment, best.causes))
        best = self._best(candidates)
        if self._worth(best) < 0 or best.fitness.tuning_accuracy <= control.fitness.tuning_accuracy:
            return Choice([control, *candidates], None, 1.0)
        # ``settled`` was already selected among the narrower pool's candidates, which the correction must count.
        considered = len(candidates) + (self._narrower_candidates(task, rankings) if settled else 0)
        p_value = _sign_test(task.tests.query_tuning, best.model, control.model)
        return Choice([control, *candidates], best, min(1.0, considered * p_value))

    def _narrower_candidates(self, task: RepairTask, rankings: Mapping[str, InfluenceScores]) -> int:
        return len(self._sets(task, rankings)) + len(_tried("data_only", task)) - 1

    def _best(self, candidates: Sequence[Candidate]) -> Candidate:
        """The best of the candidates that were tried in full."""
        return max((candidate for candidate in candidates if candidate.epochs is None), key=self._worth)

    def _worth(self, candidate: Candidate) -> float:
        return candidate.fitness.worth(self.tolerance)

    def _finetuned(self, task: RepairTask, rankings: Mapping[str, InfluenceScores]) -> Iterator[Candidate]:
        sets, epochs = self._sets(task, rankings), 1
        while len(sets) > _IN_FULL:
            screened = [_screen(task, method, causes, epochs) for method, causes in sets]
            yield from screened
            better = sorted(screened, key=self._worth, reverse=True)[: max(_IN_FULL, len(sets) // 2)]
            sets, epochs = [(str(one.influence_method), one.causes) for one in better], 2 * epochs
        for method, causes in sets:
            yield _evaluate(task, method, "finetune", causes)

    def _sets(self, task: RepairTask, rankings: Mapping[str, InfluenceScores]) -> list[tuple[str, Causes]]:
        """The causes to try, with the method that found them."""
        sets = []
        for method in self.methods:
            scores = rankings[method]
            counts = [round(fraction * len(task.fit)) for fraction in self.fractions]
            if scores.probability is not None:
                counts.append(within_false_share(scores.probability, scores.order, FALSE_SHARE))
            sets += [(method, scores.top(count)) for count in dict.fromkeys(counts) if count]
        return sets


_IN_FULL = 4
"""Sets of causes that are tried in full; of more, the better half is left after fine-tunings of 1, 2, 4 epochs."""
_TREATMENTS: Mapping[str, Mapping[str, Callable[[], Treatment]]] = {
    "data_only": {"ewc_deletion": EWCDeletion, "correct_data_only": partial(Correct, pool="data_only")},
    "all": {"combined": Combined, "learn_query": LearnQuery, "relabel": Relabel, "correct": Correct},
}
"""Treatments evaluated in addition to fine-tuning, with the best causes."""


_CROSS_FITTED = ("correct", "correct_data_only")
"""Treatments that need predictions of models that were not trained on the row."""


def _tried(pool: str, task: RepairTask) -> list[str]:
    return [name for name in _TREATMENTS[pool] if name not in _CROSS_FITTED or task.stored_out_of_fold]


EVALUATED = ("finetune", *(name for pool in _TREATMENTS.values() for name in pool))
"""Treatments that a search evaluates: a new version of one of them is a new version of the search."""


def _screen(task: RepairTask, method: str, causes: Causes, epochs: int) -> Candidate:
    """A candidate after a short fine-tuning."""
    rest, validation = task.fit.without(causes.as_set), task.validation.without(causes.as_set)
    start = task.classifier.module(task.theta_hat)
    model = Schedule(max_epochs=epochs).fit(start, rest, validation, task.generator, start="trained")
    return Candidate(method, "finetune", causes, fitness(task, model), model, epochs)


def _evaluate(task: RepairTask, method: str | None, treatment: str, causes: Causes) -> Candidate:
    make = {"finetune": Finetune, **_TREATMENTS["data_only"], **_TREATMENTS["all"]}[treatment]
    # Candidates must not be trained on the guard rows by which they are evaluated.
    _, trainable = watched_and_trained(task.tests.guard)
    model = make().repaired(replace(task, tests=replace(task.tests, guard=trainable)), causes)
    return Candidate(method, treatment, causes, fitness(task, model), model)


def _sign_test(tuning: Examples, model: nn.Module, control: nn.Module) -> float:
    repaired, controlled = right(model, tuning), right(control, tuning)
    gained, lost = int((repaired & ~controlled).sum()), int((controlled & ~repaired).sum())
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0
