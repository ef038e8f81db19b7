"""Solvers of (C + δI) v = g for a matrix-free curvature C: the GD and the SA of Sec. 4.1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from repair_pipeline.continual.curvature import Curvature, Factored, Vector
from repair_pipeline.types import Progress, Theta, silent

Vectors = Float64[Tensor, "*m p"]
"""One vector, or several that are solved side by side."""
TOLERANCE = 0.1
"""The relative residual up to which a solution counts as converged."""


@dataclass(frozen=True, eq=False)
class Solution:
    """v ≈ (C + δI)⁻¹ g, and its relative residual.

    Raises:
        FloatingPointError: v or the residual is not finite.
    """

    v: Vectors
    residual: float
    """‖(C + δI) v − g‖ / ‖g‖, on all of D; of several vectors the largest."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.v).all()) or not self.residual < float("inf"):
            raise FloatingPointError(
                f"the natural gradient is not finite (residual {self.residual:g}): "
                "the gradient or the curvature is not finite, or the solver diverged; increase the damping"
            )


@runtime_checkable
class Solver(Protocol):
    """Solves a linear system within a fixed budget."""

    def __call__(self, curvature: Any, damping: float, g: Vectors) -> Solution:
        """v and its residual, converged or not.

        Args:
            curvature: C: a ``Factored`` one for ``Direct``, a matrix-free ``Curvature`` for the others.
            damping: δ > 0.
            g: the right-hand side.

        Raises:
            FloatingPointError: v is not finite.
        """


@dataclass(frozen=True, eq=False)
class Direct:
    """Solves by the closed form of a factored curvature, so that nothing is left but rounding."""

    def __call__(self, curvature: Factored, damping: float, g: Vectors) -> Solution:
        return Solution(curvature.solve(damping, g).double(), 0.0)


@dataclass(frozen=True, eq=False)
class ConjugateResiduals:
    """Minimises ½ vᵀ(C + δI) v − gᵀv from v = 0 until its gradient, the residual, is small: the paper's GD.

    # Deviation: along conjugate directions instead of the gradient (conjugate residuals, Stiefel 1955). No other method
    has a smaller residual after the same number of products with C; plain descent needs many times more.
    """

    tolerance: float = TOLERANCE
    passes: int = 15
    """Maximum number of products with C, each a pass over D."""
    progress: Progress = silent

    def __call__(self, curvature: Curvature, damping: float, g: Vectors) -> Solution:
        v, rest, residual = torch.zeros_like(g), g, torch.ones(())
        direction, bent_direction = torch.zeros_like(g), torch.zeros_like(g)
        before = torch.full_like(g[..., :1], torch.inf)
        for step in range(self.passes):
            bent = curvature.product(rest) + damping * rest
            energy = (rest * bent).sum(dim=-1, keepdim=True)
            direction = rest + energy / before * direction
            bent_direction = bent + energy / before * bent_direction
            length = energy / bent_direction.square().sum(dim=-1, keepdim=True)
            v, rest, before = v + length * direction, rest - length * bent_direction, energy
            residual = (rest.norm(dim=-1) / g.norm(dim=-1)).max()
            self.progress(step + 1, self.passes)
            if residual <= self.tolerance:
                break
        return Solution(v, residual.item())


@dataclass(frozen=True, eq=False)
class Iterated:
    """A matrix-free curvature that is solved by iteration wherever a ``Factored`` one is solved in closed form."""

    curvature: Curvature
    solver: ConjugateResiduals
    residuals: list[float] = field(default_factory=list)
    """The residual of each solution so far."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        return self.curvature.quadratic(delta)

    def solve(self, damping: float, v: Float[Tensor, "*m p"]) -> Float[Tensor, "*m p"]:
        solution = self.solver(self.curvature, damping, v.double())
        self.residuals.append(solution.residual)
        return solution.v.to(v.dtype)


@dataclass(frozen=True, eq=False)
class StochasticApproximation:
    """LiSSA: v ← v + (g − (C_B + δI) v) / s with a random batch B per step, from g / s (Agarwal et al. 2016): the SA.

    s is 1.5 times the largest eigenvalue estimate of a power iteration over such batches, so that steps contract: the
    error along an eigenvector of C with eigenvalue λ shrinks by the factor 1 − (λ + δ) / s.

    # Deviation: v is the mean over the last half of the steps, while Agarwal et al. average independent runs. Both
    average over the random batches, and one run converges further than several shorter ones.
    """

    generator: torch.Generator
    passes: int = 15
    """Number of rows drawn, in multiples of N."""
    batch_size: int = 64
    progress: Progress = silent

    def __call__(self, curvature: Curvature, damping: float, g: Vector) -> Solution:
        def sampled(v: Vector) -> Vector:
            return curvature.sampled_product(v, self.batch_size, self.generator) + damping * v

        largest, v = 0.0, g
        for _ in range(20):
            v = sampled(v / v.norm())
            largest = max(largest, v.norm().item())
        scale = 1.5 * largest

        steps = -(-self.passes * len(curvature.examples) // self.batch_size)
        v, mean = g / scale, torch.zeros_like(g)
        for step in range(steps):
            v = v + (g - sampled(v)) / scale
            if step >= steps // 2:
                mean += v / (steps - steps // 2)
            self.progress(step + 1, steps)
        return Solution(mean, ((curvature.product(mean) + damping * mean - g).norm() / g.norm()).item())
