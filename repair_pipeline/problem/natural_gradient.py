"""The natural-gradient step of a task."""

from typing import Literal

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.curvature import CURVATURES
from repair_pipeline.continual.natural_gradient import NaturalGradientStep
from repair_pipeline.continual.solve import Solver
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NaturalGradient:
    """Settings of the step, the same for finding causes and for treating."""

    gamma: PositiveFloat | None = None
    """γ, the step's length; None is the posterior's own, 1/N. It scales influences and leaves their order alone."""
    curvature: Literal["empirical", "ggn"] = "empirical"
    """F̂: ``empirical`` is the paper's; ``ggn`` is Koh & Liang's Hessian made positive semi-definite."""
    damping: PositiveFloat = 0.01
    """δ in units of the empirical Fisher's mean diagonal entry, whatever the curvature."""

    def used_gamma(self, task: RepairTask) -> float:
        return 1 / len(task.fit) if self.gamma is None else self.gamma

    def step(self, task: RepairTask, solver: Solver) -> NaturalGradientStep:
        """The learner over D at θ̂."""
        return NaturalGradientStep(
            CURVATURES[self.curvature](task.classifier, task.theta_hat, task.fit),
            solver,
            damping=self.damping * task.fisher.mean().item(),
            gamma=self.used_gamma(task),
        )
