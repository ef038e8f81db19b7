"""Newton update removal (Eq. 14)."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.learner import forget
from repair_pipeline.continual.natural_gradient import PointEstimate
from repair_pipeline.continual.solve import ConjugateResiduals
from repair_pipeline.problem.natural_gradient import NaturalGradient
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Causes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Newton(NaturalGradient):
    """forget(NaturalGradientStep, C): one step to θ̂ − γ (F̂ + δI)⁻¹ ∇log p(C|θ̂), solved like ``linear_gd``."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        learner = self.step(task, ConjugateResiduals(progress=task.progress))
        rows = task.fit[task.fit.having(causes.as_set)]
        return task.classifier.module(forget(learner, PointEstimate(task.theta_hat), rows, task.classifier).mean).eval()
