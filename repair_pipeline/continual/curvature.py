"""The full curvature of −log p(D|θ̂), off-diagonals and all, as matrix-free products (Eq. 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from repair_pipeline.continual.directional import of_log_p, of_logits
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.types import Examples, Theta

Vector = Float64[Tensor, " p"]


@dataclass(frozen=True, eq=False)
class Curvature:
    """C = (1/N) Σ_z C_z over the N rows of D, each C_z positive semi-definite; known by its products alone."""

    of_rows: Callable[[Examples, Vector], Vector]
    """(Z, v) → Σ_z C_z v."""
    examples: Examples
    batch_size: int = 200

    def product(self, v: Vector) -> Vector:
        """Cv. Costs some two epochs of training."""
        batches = self._by_id.split(self.batch_size)
        return sum((self.of_rows(self.examples[at], v) for at in batches), torch.zeros_like(v)) / len(self.examples)

    def sampled_product(self, v: Vector, size: int, generator: torch.Generator) -> Vector:
        """C_B v, the mean over ``size`` rows drawn at random: an unbiased estimate of Cv."""
        drawn = torch.randint(len(self.examples), (size,), generator=generator)
        return self.of_rows(self.examples[self._by_id[drawn]], v) / size

    @cached_property
    def _by_id(self) -> Int64[Tensor, " n"]:
        # Summed and drawn in the order of their ids, so that no result follows the order in which the rows came.
        return torch.from_numpy(self.examples.ids.argsort())


def empirical_fisher(log_lik: LogLikelihood, theta: Theta, examples: Examples) -> Curvature:
    """F̂ = (1/N) Σ_z g_z g_zᵀ, g_z = ∇ log p(z|θ) at the label given: the paper's (Eq. 8)."""
    jacobian = of_log_p(log_lik)

    def of_rows(rows: Examples, v: Vector) -> Vector:
        _, change, pull = jacobian.pulled(theta, rows.to(theta.device), v.to(theta.dtype))
        return pull(change).double()

    return Curvature(of_rows, examples)


def ggn(classifier: Classifier, theta: Theta, examples: Examples) -> Curvature:
    """(1/N) Σ_z Jᵀ(diag π − ππᵀ)J, J of the logits, π = softmax: the generalised Gauss-Newton matrix.

    It is the expected Fisher: it reads no label, so wrong ones do not inflate it.
    """
    jacobian = of_logits(classifier)

    def of_rows(rows: Examples, v: Vector) -> Vector:
        logits, change, pull = jacobian.pulled(theta, rows.to(theta.device), v.to(theta.dtype))
        probabilities = logits.softmax(dim=1)
        return pull(probabilities * (change - (probabilities * change).sum(dim=1, keepdim=True))).double()

    return Curvature(of_rows, examples)


CURVATURES: Mapping[str, Callable[[Classifier, Theta, Examples], Curvature]] = {
    "empirical": empirical_fisher,
    "ggn": ggn,
}
