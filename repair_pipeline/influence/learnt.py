"""Influence by learning the failures and reading the effect on D (Algorithm 1, step I)."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.learner import ContinualLearner
from repair_pipeline.continual.maximise import Maximise, OneCycle
from repair_pipeline.continual.posterior import Posterior
from repair_pipeline.problem.query import QueryBased, stopped_by_loss
from repair_pipeline.problem.reading import READINGS, UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LearntInfluence(QueryBased):
    """learn(F_q) with any learner, then read q and q*. A method defines ``posterior`` and ``learner``."""

    guard: Literal["none", "joint", "nested"] = "joint"  # type: ignore[assignment]  # one option more than QueryBased
    """``joint``: θ* also learns correctly classified cases and is compared with θ̂: conflict with F ∪ B.
    ``nested``: it is compared with a posterior that learnt only those cases: conflict with F beyond B; needs a reading
    of both posteriors. ``none``: failures only, as in the paper."""
    reading: Literal["difference", "linear", "posterior_loss"] = "posterior_loss"
    """How q and q* are read: Eq. 7, Eq. 9, or −log p(z|θ*), by far the best detector (``docs/adr/0010``)."""
    stopping: Literal["one_cycle", "paper"] = "one_cycle"
    """``one_cycle``: 150 Adam steps towards the objective's optimum. ``paper``: App. C's early stopping, whose quality
    varies strongly with the seed (``docs/adr/0005``)."""

    @model_validator(mode="after")
    def _nested_reads_both(self) -> "LearntInfluence":
        if self.guard == "nested" and self.reading == "posterior_loss":
            raise ValueError("guard=nested compares two posteriors, posterior_loss reads one: set reading=difference")
        return self

    def posterior(self, task: RepairTask) -> Any:
        """q(θ) ≈ p(θ|D)."""
        raise NotImplementedError

    def learner(self, task: RepairTask) -> ContinualLearner[Any]:
        """The learner that updates it by the failures."""
        raise NotImplementedError

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        """The method's own entries in the table's metadata."""
        return {}

    def learnt(self, task: RepairTask) -> tuple[Posterior, Posterior]:
        """q before learning the failures, and q* after."""
        factors = self.factors(task)
        q, learner = self.posterior(task), self.learner(task)
        before = learner.update(q, factors[1:], task.classifier) if self.guard == "nested" else q
        return before, learner.update(q, factors, task.classifier)

    def scores(self, task: RepairTask) -> InfluenceScores:
        return self._read(task, *self.learnt(task))

    def _read(self, task: RepairTask, q: Posterior, updated: Posterior) -> InfluenceScores:
        values = READINGS[self.reading](task, q, updated)
        notes = {**self.own_notes(task), **self.notes(self.factors(task))}
        neutral = UNLIKELY if self.reading == "posterior_loss" else 0.0
        return InfluenceScores(task.fit.ids, values, notes=notes, neutral=neutral)

    def maximise(self, task: RepairTask) -> Maximise:
        """The optimiser and its stopping rule."""
        return stopped_by_loss(task) if self.stopping == "paper" else OneCycle(task.generator, progress=task.progress)
