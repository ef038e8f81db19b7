"""The curvature of −log p(D|θ̂): in full, as matrix-free products (Eq. 8), and the face of its approximations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.func import vmap

from repair_pipeline.continual.directional import of_log_p, of_logits
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.types import Examples, Theta

Vector = Float64[Tensor, " p"]
_SIDE_BY_SIDE = 50
"""Vectors that are multiplied at once."""


@runtime_checkable
class Quadratic(Protocol):
    """C ⪰ 0, a mean over D, as the penalty of EWC."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        """δᵀCδ, differentiable by δ."""


@runtime_checkable
class Factored(Quadratic, Protocol):
    """An approximation of C whose inverse is known in closed form."""

    def solve(self, damping: float, v: Float[Tensor, "*m p"]) -> Float[Tensor, "*m p"]:
        """(C + δI)⁻¹ v for every vector of ``v``, in the precision of C; δ > 0."""


@dataclass(frozen=True, eq=False)
class Curvature:
    """C = (1/N) Σ_z C_z over the N rows of D, each C_z positive semi-definite, given by its products with vectors."""

    of_rows: Callable[[Examples, Vector], Vector]
    """(Z, v) → Σ_z C_z v."""
    examples: Examples
    batch_size: int = 200
    _alone: list[bool] = field(default_factory=list, init=False, repr=False)
    """Whether vectors must be multiplied one after the other; empty until several are multiplied."""

    def product(self, v: Float64[Tensor, "*m p"]) -> Float64[Tensor, "*m p"]:
        """Cv, for each of m vectors. Costs about two epochs of training each; several are computed side by side."""
        of_rows = self._of_several if v.dim() > 1 else self.of_rows
        batches = self._by_id.split(self.batch_size)
        return sum((of_rows(self.examples[at], v) for at in batches), torch.zeros_like(v)) / len(self.examples)

    def _of_several(self, rows: Examples, v: Float64[Tensor, "m p"]) -> Float64[Tensor, "m p"]:
        """Σ_z C_z v for each vector."""
        if not self._alone:
            self.of_rows(rows[:4], v[0])  # how it is differentiated is chosen here, as a transform would mislead it
        if not any(self._alone):
            try:
                products = vmap(self.of_rows, in_dims=(None, 0), chunk_size=_SIDE_BY_SIDE)(rows, v)
                self._alone[:] = [False]
                return products
            except RuntimeError:  # the model does not run under vmap; an error of its own will be raised again below
                self._alone[:] = [True]
        return torch.stack([self.of_rows(rows, each) for each in v])

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        """δᵀCδ; its gradient is 2Cδ. Costs a ``product``."""
        at = delta.detach()
        bent = self.product(at.double()).to(at.dtype)
        return 2 * (delta @ bent) - at @ bent

    def sampled_product(self, v: Vector, size: int, generator: torch.Generator) -> Vector:
        """C_B v, the mean over ``size`` random rows (with replacement): an unbiased estimate of Cv."""
        drawn = torch.randint(len(self.examples), (size,), generator=generator)
        return self.of_rows(self.examples[self._by_id[drawn]], v) / size

    @cached_property
    def _by_id(self) -> Int64[Tensor, " n"]:
        # Sums and draws follow the order of ids, so that results do not depend on the order of the rows.
        return torch.from_numpy(self.examples.ids.argsort())


def empirical_fisher(log_lik: LogLikelihood, theta: Theta, examples: Examples) -> Curvature:
    """F̂ = (1/N) Σ_z g_z g_zᵀ with g_z = ∇ log p(z|θ) at the given label: the paper's curvature (Eq. 8)."""
    jacobian = of_log_p(log_lik)

    def of_rows(rows: Examples, v: Vector) -> Vector:
        _, change, pull = jacobian.pulled(theta, rows.to(theta.device), v.to(theta.dtype))
        return pull(change).double()

    return Curvature(of_rows, examples)


def ggn(classifier: Classifier, theta: Theta, examples: Examples) -> Curvature:
    """The generalised Gauss-Newton matrix (1/N) Σ_z JᵀHJ: J the Jacobian of the logits, H as ``curved`` defines it.

    It equals the expected Fisher. It uses no labels, so wrong labels do not inflate it.
    """
    jacobian = of_logits(classifier)

    def of_rows(rows: Examples, v: Vector) -> Vector:
        rows = rows.to(theta.device)
        logits, change, pull = jacobian.pulled(theta, rows, v.to(theta.dtype))
        return pull(classifier.likelihood.curved(logits, change, rows.labels)).double()

    return Curvature(of_rows, examples)
