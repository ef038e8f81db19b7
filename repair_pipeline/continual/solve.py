"""(C + δI) v = g, for a curvature C known by its products alone: the GD and the SA of Sec. 4.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from repair_pipeline.continual.curvature import Curvature, Vector
from repair_pipeline.types import Progress, silent

TOLERANCE = 0.1
"""The residual up to which a solution counts as converged."""


@dataclass(frozen=True, eq=False)
class Solution:
    """v ≈ (C + δI)⁻¹ g, and how far from it."""

    v: Vector
    residual: float
    """‖(C + δI) v − g‖ / ‖g‖, on all of D."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.v).all()) or not self.residual < float("inf"):
            raise FloatingPointError(
                f"the natural gradient is not finite (residual {self.residual:g}): "
                "the gradient or the curvature is not, or the solver has diverged; raise the damping"
            )


@runtime_checkable
class Solver(Protocol):
    """Solves within its budget, and says how well."""

    def __call__(self, curvature: Curvature, damping: float, g: Vector) -> Solution:
        """v and its residual, converged or not.

        Args:
            damping: δ > 0.

        Raises:
            FloatingPointError: v is not finite.
        """


@dataclass(frozen=True, eq=False)
class ConjugateResiduals:
    """Descends ½ vᵀ(C + δI) v − gᵀv from 0 until its gradient, the residual, is small: the paper's GD.

    # Deviation: not along the gradient itself but along conjugate directions (conjugate residuals, Stiefel 1955). No
    method leaves a smaller residual after as many products with C; plain descent takes many times as many.
    """

    tolerance: float = TOLERANCE
    passes: int = 15
    """Products with C at the most, each a pass over D."""
    progress: Progress = silent

    def __call__(self, curvature: Curvature, damping: float, g: Vector) -> Solution:
        v, rest = torch.zeros_like(g), g
        direction, bent_direction, before = torch.zeros_like(g), torch.zeros_like(g), torch.inf
        for step in range(self.passes):
            bent = curvature.product(rest) + damping * rest
            energy = rest @ bent
            direction = rest + energy / before * direction
            bent_direction = bent + energy / before * bent_direction
            length = energy / bent_direction.square().sum()
            v, rest, before = v + length * direction, rest - length * bent_direction, energy.item()
            self.progress(step + 1, self.passes)
            if rest.norm() <= self.tolerance * g.norm():
                break
        return Solution(v, (rest.norm() / g.norm()).item())


@dataclass(frozen=True, eq=False)
class StochasticApproximation:
    """LiSSA: v ← v + (g − (C_B + δI) v) / s with a random batch B a step, from g / s (Agarwal et al. 2016): the SA.

    s is 1.5 times the largest eigenvalue that a power iteration over such batches meets, so that a step contracts: what
    v lacks along an eigenvector of C with the eigenvalue λ shrinks by the factor 1 − (λ + δ) / s.

    # Deviation: v is the mean over the last half of the steps, where Agarwal et al. take a mean over independent runs:
    either averages out which batches were drawn, and one run gets further than several shorter ones.
    """

    generator: torch.Generator
    passes: int = 15
    """How often as many rows as D has are drawn."""
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
