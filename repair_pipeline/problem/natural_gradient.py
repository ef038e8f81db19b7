"""The natural-gradient step for a repair task."""

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.fisher import FisherKind
from repair_pipeline.continual.natural_gradient import NaturalGradientStep
from repair_pipeline.continual.solve import Direct, Solver
from repair_pipeline.problem.curvature import CurvatureName, curvature_of
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NaturalGradient:
    """Settings of the step, shared by linear influence and Newton update removal."""

    gamma: PositiveFloat | None = None
    """γ, the step's length; None is the posterior's value, 1/N. It scales influences without changing their order."""
    curvature: CurvatureName = "exact"
    """What is kept of F̂; ``exact`` is solved iteratively, the others in closed form."""
    fisher: FisherKind = "empirical"
    """The labels for F̂: ``empirical`` is the paper's; ``expected`` is, with ``curvature=exact``, the generalised
    Gauss-Newton matrix: Koh & Liang's Hessian made positive semi-definite."""
    damping: PositiveFloat = 0.01
    """δ in units of the empirical Fisher's mean diagonal entry, for every curvature."""

    def used_gamma(self, task: RepairTask) -> float:
        return 1 / len(task.fit) if self.gamma is None else self.gamma

    def step(self, task: RepairTask, solver: Solver) -> NaturalGradientStep:
        """The learner, with the curvature over D at θ̂; ``solver`` is for the exact one."""
        return NaturalGradientStep(
            curvature_of(task, self.curvature, self.fisher),
            solver if self.curvature == "exact" else Direct(),
            damping=self.damping * task.fisher.mean().item(),
            gamma=self.used_gamma(task),
        )
