"""The natural-gradient step for a repair task."""

from typing import Literal

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.curvature import CURVATURES
from repair_pipeline.continual.natural_gradient import NaturalGradientStep
from repair_pipeline.continual.solve import Solver
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NaturalGradient:
    """Settings of the step, shared by linear influence and Newton update removal."""

    gamma: PositiveFloat | None = None
    """γ, the step's length; None is the posterior's value, 1/N. It scales influences without changing their order."""
    curvature: Literal["empirical", "ggn"] = "empirical"
    """F̂: ``empirical`` is the paper's; ``ggn`` is Koh & Liang's Hessian made positive semi-definite."""
    damping: PositiveFloat = 0.01
    """δ in units of the empirical Fisher's mean diagonal entry, for either curvature."""

    def used_gamma(self, task: RepairTask) -> float:
        return 1 / len(task.fit) if self.gamma is None else self.gamma

    def step(self, task: RepairTask, solver: Solver) -> NaturalGradientStep:
        """The learner, with the curvature over D at θ̂."""
        return NaturalGradientStep(
            CURVATURES[self.curvature](task.classifier, task.theta_hat, task.fit),
            solver,
            damping=self.damping * task.fisher.mean().item(),
            gamma=self.used_gamma(task),
        )
