"""One step of natural gradient: the learner of linear influence and of Newton update removal (Eq. 8, 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float64
from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass as settings
from torch import Tensor

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.curvature import CURVATURES, Curvature
from repair_pipeline.continual.likelihood import LogLikelihood, log_likelihoods
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.continual.solve import Solver
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class PointEstimate:
    """q(θ) = δ(θ − mean) (Sec. 2.1, Example 1)."""

    mean: Theta
    residual: float = 0.0
    """Of the linear system whose solution led here: ‖(F̂ + δI) v − g‖ / ‖g‖; 0 where none was solved."""

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        return log_likelihoods(log_lik, self.mean, examples)


@dataclass(frozen=True, eq=False)
class NaturalGradientStep:
    """Moves the mean by γ (F̂ + δI)⁻¹ Σ power · ∇log p(Z|mean): Eq. 8 for +1, Eq. 14 for -1."""

    curvature: Curvature
    """F̂ over D at θ̂."""
    solver: Solver
    damping: float
    """δ > 0, without which F̂, of rank N at the most, has no inverse."""
    gamma: float
    """γ; as F̂ is a mean over D, 1/N is the posterior's own."""

    def update(self, q: PointEstimate, factors: list[Factor], log_lik: LogLikelihood) -> PointEstimate:
        total = torch.zeros_like(q.mean, dtype=torch.float64)
        for factor in factors:
            for batch in factor.examples.batches(500):
                at = q.mean.detach().requires_grad_(True)
                total += factor.power * gradient(log_lik(at, batch.to(at.device)).sum(), at)
        solution = self.solver(self.curvature, self.damping, total)
        return PointEstimate(q.mean + (self.gamma * solution.v).to(q.mean.dtype), solution.residual)


@settings(frozen=True, config=ConfigDict(extra="forbid"))
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
