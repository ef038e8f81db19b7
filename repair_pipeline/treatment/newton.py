"""Newton update removal (Eq. 14)."""

from typing import Literal

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.curvature import CURVATURES
from repair_pipeline.continual.learner import forget
from repair_pipeline.continual.natural_gradient import NaturalGradientStep, PointEstimate
from repair_pipeline.continual.solve import ConjugateResiduals
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import Causes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Newton:
    """forget(NaturalGradientStep, C): one step to θ̂ − γ (F̂ + δI)⁻¹ ∇log p(C|θ̂)."""

    gamma: PositiveFloat | None = None
    """γ, the step's length; None is the posterior's own, 1/N."""
    curvature: Literal["empirical", "ggn"] = "empirical"
    """F̂: ``empirical`` is the paper's."""
    damping: PositiveFloat = 0.01
    """δ in units of the mean diagonal entry of F̂."""

    def used_gamma(self, task: RepairTask) -> float:
        return 1 / len(task.fit) if self.gamma is None else self.gamma

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        learner = NaturalGradientStep(
            CURVATURES[self.curvature](task.classifier, task.theta_hat, task.fit),
            ConjugateResiduals(progress=task.progress),
            damping=self.damping * task.fisher.mean().item(),
            gamma=self.used_gamma(task),
        )
        rows = task.fit[task.fit.having(causes.as_set)]
        return task.classifier.module(forget(learner, PointEstimate(task.theta_hat), rows, task.classifier).mean).eval()
