"""Posteriors q(θ) ≈ p(θ|D), and the factors by which they are updated (Sec. 2.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.func import grad, jacrev

from repair_pipeline.continual.curvature import Quadratic
from repair_pipeline.continual.fisher import squared_gradients
from repair_pipeline.continual.likelihood import LogLikelihood, log_likelihoods
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class Factor:
    """p(Z|θ)^power: +1 inserts Z into the posterior's factor graph, -1 deletes it; a fraction tempers it."""

    examples: Examples
    power: float


@runtime_checkable
class Precision(Protocol):
    """A symmetric positive semi-definite matrix P over parameters."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        """δᵀPδ."""

    def updated(self, factor: Factor, theta: Theta, log_lik: LogLikelihood) -> Precision:
        """P + power × the curvature of −log p(Z|θ).

        Raises:
            FloatingPointError: the result is not positive semi-definite.
        """


@dataclass(frozen=True, eq=False)
class Diagonal:
    """A diagonal precision with the empirical Fisher as curvature: EWC."""

    values: Theta

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        return (self.values * delta.square()).sum()

    def solve(self, damping: float, v: Float[Tensor, "*m p"]) -> Float[Tensor, "*m p"]:
        """(P + δI)⁻¹ v, as a ``Factored`` curvature."""
        return v.to(self.values.dtype) / (self.values + damping)

    def updated(self, factor: Factor, theta: Theta, log_lik: LogLikelihood) -> Diagonal:
        curvature = squared_gradients(log_lik, theta, factor.examples)
        values = self.values + factor.power * curvature
        # Tolerance for rounding: float32 sums are undone only to a few units in the last place of the larger term.
        slack = 1e-5 if values.dtype == torch.float32 else 1e-12
        if bool((values < -slack * self.values.abs()).any()):
            raise FloatingPointError(
                f"deleting {len(factor.examples)} examples leaves a negative precision: "
                "they have more curvature than the posterior, so not all of them are part of it"
            )
        return replace(self, values=values.clamp(min=0))


@dataclass(frozen=True, eq=False)
class Scaled:
    """(2/γ) F̂ + λI with any F̂."""

    curvature: Quadratic
    """F̂."""
    scale: float
    """2/γ."""
    prior: float = 0.0
    """λ ≥ 0."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        return self.scale * self.curvature.quadratic(delta) + self.prior * delta.square().sum()

    def updated(self, factor: Factor, theta: Theta, log_lik: LogLikelihood) -> Scaled:
        raise NotImplementedError(
            "a sum of factored curvatures is not factored in the same way, so this precision is not updated: "
            'use EWC(..., precision="frozen")'
        )


@dataclass(frozen=True, eq=False)
class Dense:
    """A full precision with the exact Hessian as curvature: the oracle for small problems. Memory p²."""

    matrix: Float[Tensor, "p p"]

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        return delta @ self.matrix @ delta

    def updated(self, factor: Factor, theta: Theta, log_lik: LogLikelihood) -> Dense:
        def log_p(at: Theta) -> Tensor:
            return log_lik(at, factor.examples).sum()

        # Reverse over reverse: torch's hessian is forward over reverse, which warns that torch.jit is deprecated.
        curvature = -jacrev(grad(log_p))(theta)
        matrix = self.matrix + factor.power * curvature
        if bool(torch.linalg.eigvalsh(matrix)[0] < -1e-9 * matrix.abs().max()):
            raise FloatingPointError(f"the precision after {factor.power:+g} × {len(factor.examples)} is not definite")
        return replace(self, matrix=matrix)


@runtime_checkable
class Posterior(Protocol):
    """q(θ) ≈ p(θ|D)."""

    @property
    def mean(self) -> Theta:
        """E_q[θ]."""

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        """E_q[log p(z|θ)] of every example, in nats, on the CPU."""


@dataclass(frozen=True, eq=False)
class Laplace:
    """N(mean, precision⁻¹), the Laplace approximation of a posterior (Eq. 20 to 23)."""

    mean: Theta
    precision: Precision

    def log_density(self, theta: Theta) -> Float[Tensor, ""]:
        """−½ (θ − mean)ᵀ P (θ − mean), in nats, up to a constant."""
        return -0.5 * self.precision.quadratic(theta - self.mean)

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        """log p(z|θ) at the mean, as the paper takes q = δ(θ − θ̂) for influence (Sec. 2.1, Example 2)."""
        return log_likelihoods(log_lik, self.mean, examples)


def laplace(theta_hat: Theta, fisher: Theta, gamma: float, prior: float = 0.0) -> Laplace:
    """N(θ̂, ((2/γ) diag F̂ + λI)⁻¹). γ = 2/N is the posterior of Eq. 10 and 15 (``docs/adr/0004``).

    Args:
        theta_hat: θ̂, the mean.
        fisher: diag F̂, a mean over D.
        gamma: γ > 0; a larger γ allows larger changes of θ̂.
        prior: λ ≥ 0.
    """
    return Laplace(theta_hat, Diagonal(2 / gamma * fisher + prior))
