"""Elastic weight consolidation, for learning and for forgetting (Sec. 2.1, 2.2; A.3, A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.learner import Deleted, log_factors
from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.maximise import Maximise
from repair_pipeline.continual.posterior import Factor, Laplace
from repair_pipeline.types import Theta


@dataclass(frozen=True, eq=False)
class EWC:
    """Moves the mean to the maximum of Σ power · log p(Z|θ) + log q(θ): Eq. 10 for +1, Eq. 15 for -1.

    Raises:
        ValueError: ``deleted="unlikelihood"`` with an updated precision.
    """

    maximise: Maximise
    precision: Literal["updated", "frozen"] = "updated"
    """``frozen`` keeps q's precision, as the paper does; ``updated`` adds the factors' curvature."""
    deleted: Deleted = "likelihood"
    """``unlikelihood`` is the bounded form; it needs a frozen precision."""

    def __post_init__(self) -> None:
        if self.deleted == "unlikelihood" and self.precision == "updated":
            raise ValueError("deleted=unlikelihood does not support precision=updated: use precision=frozen")

    def update(self, q: Laplace, factors: list[Factor], log_lik: LogLikelihood) -> Laplace:
        log_data, weights = log_factors(factors, q.mean, log_lik, self.deleted)

        def log_posterior(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
            return log_data(theta, batch) + q.log_density(theta)

        mean = self.maximise(log_posterior, weights, q.mean)
        precision = q.precision
        if self.precision == "updated":
            for factor in factors:
                # The curvature is evaluated where the factor is part of the posterior: at the new mean for an
                # insertion, at the old mean for a deletion. So forgetting undoes learning exactly.
                precision = precision.updated(factor, mean if factor.power > 0 else q.mean, log_lik)
        return Laplace(mean, precision)
