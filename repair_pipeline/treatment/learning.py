"""Treatments that learn the failures themselves (App. B.4)."""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Diagonal, Factor, Laplace, laplace
from repair_pipeline.problem.query import QueryBased, stopped_by_loss
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Causes

_strict = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_strict)
class L2Query:
    """Maximise log p(F_q|θ) − (λ/2)‖θ − θ̂‖² from θ̂: learn(EWC, F_q) with precision λI (App. B.4, [13]).

    As in the paper, with early stopping on the loss of query_tuning and no guard. Removes nothing.
    """

    strength: PositiveFloat = 1000.0
    """λ, in nats per squared parameter unit."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        q = Laplace(task.theta_hat, Diagonal(torch.full_like(task.theta_hat, self.strength)))
        learner = EWC(stopped_by_loss(task), precision="frozen")
        return task.classifier.module(learn(learner, q, task.tests.query, task.classifier).mean).eval()


@dataclass(frozen=True, config=_strict)
class LearnQuery(QueryBased):
    """p(θ|D, F_q, B_q): learn(EWC, F_q) together with the guard, as EWC-influence does. Removes nothing."""

    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's value, 2/N."""
    prior: NonNegativeFloat = 0.0
    """λ of Eq. 10."""

    def used_gamma(self, task: RepairTask) -> float:
        return task.gamma(self.gamma)

    def learnt(self, task: RepairTask) -> nn.Module:
        """The model at the mean θ* of the updated posterior."""
        q = laplace(task.theta_hat, task.fisher, task.gamma(self.gamma), self.prior)
        learner = EWC(OneCycle(task.generator, progress=task.progress), precision="frozen")
        return task.classifier.module(learner.update(q, self.factors(task), task.classifier).mean).eval()

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return self.learnt(task)


@dataclass(frozen=True, config=_strict)
class LearnGuard(LearnQuery):
    """p(θ|D, B_q): learn(EWC, B_q) with the guard's usual weight but without the failures. A control.

    Its repairs are due to the guard's clean rows, not to causes or failures.
    """

    guard: Literal["joint"] = "joint"
    """Only this one, as without a guard there is nothing to learn."""

    def factors(self, task: RepairTask) -> list[Factor]:
        return super().factors(task)[1:]


@dataclass(frozen=True, config=_strict)
class Relabel(LearnQuery):
    """Relabel the causes as the model predicts that learnt the failures, θ*, then fine-tune on all of D.

    Validation rows get no new labels, so causes among them are excluded from early stopping.
    """

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        labels, at = task.fit.labels.clone(), task.fit.having(causes.as_set)
        labels[at] = predictions(self.learnt(task), task.fit)[at].to(labels)
        relabelled = replace(
            task,
            fit=replace(task.fit, labels=labels),
            validation=task.validation.without(causes.as_set),
        )
        return Finetune().repaired(relabelled, Causes(()))
