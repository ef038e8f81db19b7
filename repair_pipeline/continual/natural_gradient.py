"""A natural-gradient step: the learner of linear influence and of Newton update removal (Eq. 8, 14)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.curvature import Quadratic
from repair_pipeline.continual.likelihood import LogLikelihood, log_likelihoods
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.continual.solve import Solver
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class PointEstimate:
    """q(θ) = δ(θ − mean) (Sec. 2.1, Example 1)."""

    mean: Theta
    residual: float = 0.0
    """The relative residual ‖(F̂ + δI) v − g‖ / ‖g‖ of the linear system solved for this step; 0 if none was."""

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        return log_likelihoods(log_lik, self.mean, examples)


@dataclass(frozen=True, eq=False)
class NaturalGradientStep:
    """Moves the mean by γ (F̂ + δI)⁻¹ Σ power · ∇log p(Z|mean): Eq. 8 for +1, Eq. 14 for -1."""

    curvature: Quadratic
    """F̂ over D at θ̂, of the kind that ``solver`` solves."""
    solver: Solver
    damping: float
    """δ > 0; needed because F̂ has at most rank N and may be singular."""
    gamma: float
    """γ; as F̂ is a mean over D, the posterior's value is 1/N."""

    def update(self, q: PointEstimate, factors: list[Factor], log_lik: LogLikelihood) -> PointEstimate:
        total = torch.zeros_like(q.mean, dtype=torch.float64)
        for factor in factors:
            for batch in factor.examples.batches(500):
                at = q.mean.detach().requires_grad_(True)
                total += factor.power * gradient(log_lik(at, batch.to(at.device)).sum(), at)
        solution = self.solver(self.curvature, self.damping, total)
        return PointEstimate(q.mean + (self.gamma * solution.v).to(q.mean.dtype), solution.residual)
