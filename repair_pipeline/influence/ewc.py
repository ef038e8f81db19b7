"""EWC-influence (Eq. 10, 11; Algorithm 1, step I)."""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import FisherKind, fisher_diagonal, labels_of
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.posterior import Laplace, laplace
from repair_pipeline.influence.learnt import LearntInfluence
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCInfluence(LearntInfluence):
    """learn(EWC, F_q), then θ̂ against θ* as ``reading`` says; r̃(z) = log p(z|θ̂) − log p(z|θ*) is Eq. 11."""

    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's own, 2/N."""
    prior: NonNegativeFloat = 0.0
    """λ of Eq. 10; 0 in the paper's experiments."""

    fisher: FisherKind = "empirical"
    """The labels of F̂: D's own, as in the paper, all of them weighted by p(y|x,θ̂), or one drawn from it."""
    curvature: Literal["diagonal", "kfac"] = "diagonal"
    """What is kept of F̂: its diagonal, or K-FAC's factors of each layer's block."""

    def posterior(self, task: RepairTask) -> Laplace:
        gamma = task.gamma(self.gamma)
        rows = (task.classifier, task.theta_hat, task.fit)
        labels = labels_of(self.fisher, task.classifier, task.generator)
        if self.curvature == "kfac":
            precision = kfac(*rows, gamma, self.prior, progress=task.progress, labels=labels)
            return Laplace(task.theta_hat, precision)
        stored = self.fisher == "empirical"
        fisher = task.fisher if stored else fisher_diagonal(*rows, progress=task.progress, labels=labels)
        return laplace(task.theta_hat, fisher, gamma, self.prior)

    def learner(self, task: RepairTask) -> EWC:
        # Eq. 11 reads the mean alone, so the updated precision is not computed.
        return EWC(self.maximise(task), precision="frozen")

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        return {"gamma": task.gamma(self.gamma)}
