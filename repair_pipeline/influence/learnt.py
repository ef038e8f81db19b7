"""Influence by learning the failures and reading what that does to D (Algorithm 1, step I)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.learner import ContinualLearner
from repair_pipeline.continual.maximise import Maximise, OneCycle
from repair_pipeline.continual.posterior import Posterior
from repair_pipeline.problem.query import QueryBased, stopped_by_loss, watched_and_trained
from repair_pipeline.problem.reading import READINGS, UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LearntInfluence(QueryBased):
    """learn(F_q), then read q against q*: whatever the learner. Its ``posterior`` and ``learner`` make a method."""

    guard: Literal["none", "joint", "nested"] = "joint"  # type: ignore[assignment]  # one choice more than without a learner
    """``joint``: θ* also learns cases that the model gets right, and is read against θ̂: conflict with F ∪ B.
    ``nested``: against what learns those cases alone: conflict with F beyond B, for a reading of both posteriors.
    ``none``: the paper's."""
    reading: Literal["difference", "linear", "posterior_loss"] = "posterior_loss"
    """How q and q* are read: Eq. 7, Eq. 9, or −log p(z|θ*), the best detector by far (``docs/adr/0010``)."""
    stopping: Literal["one_cycle", "paper"] = "one_cycle"
    """``one_cycle``: 150 Adam steps towards the objective's optimum. ``paper``: App. C's early stopping, which varies
    with the seed between useful and useless (``docs/adr/0005``)."""

    @model_validator(mode="after")
    def _reads_what_it_nests(self) -> "LearntInfluence":
        if self.guard == "nested" and self.reading == "posterior_loss":
            raise ValueError("guard nested compares two posteriors, posterior_loss reads one: set reading=difference")
        return self

    def posterior(self, task: RepairTask) -> Any:
        """q(θ) ≈ p(θ|D)."""
        raise NotImplementedError

    def learner(self, task: RepairTask) -> ContinualLearner[Any]:
        """What multiplies the failures into it."""
        raise NotImplementedError

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        """What the method itself says beside its table."""
        return {}

    def learnt(self, task: RepairTask) -> tuple[Posterior, Posterior]:
        """q as it is held before the failures, and q* with them."""
        factors = self.factors(task)
        q, learner = self.posterior(task), self.learner(task)
        before = learner.update(q, factors[1:], task.classifier) if self.guard == "nested" else q
        return before, learner.update(q, factors, task.classifier)

    def scores(self, task: RepairTask) -> InfluenceScores:
        return self._read(task, *self.learnt(task))

    def calibrated(self, task: RepairTask) -> InfluenceScores:
        """The scores, and beside them those of cases that the model gets right, as the null.

        The cases are of the failures' classes, out of the guard rows that are only looked at: what is learnt no longer
        says what chance gives.
        """
        cases, guard = watched_and_trained(task.tests.guard)
        cases = cases[torch.isin(cases.labels, task.tests.query.labels)]
        task = replace(task, tests=replace(task.tests, guard=guard))
        q, updated = self.learnt(task)
        null = READINGS[self.reading](replace(task, fit=cases), q, updated)
        return replace(self._read(task, q, updated), null=null)

    def _read(self, task: RepairTask, q: Posterior, updated: Posterior) -> InfluenceScores:
        values = READINGS[self.reading](task, q, updated)
        notes = {**self.own_notes(task), **self.notes(self.factors(task))}
        neutral = UNLIKELY if self.reading == "posterior_loss" else 0.0
        return InfluenceScores(task.fit.ids, values, notes=notes, neutral=neutral)

    def maximise(self, task: RepairTask) -> Maximise:
        """The optimiser and its stopping rule."""
        return stopped_by_loss(task) if self.stopping == "paper" else OneCycle(task.generator, progress=task.progress)
