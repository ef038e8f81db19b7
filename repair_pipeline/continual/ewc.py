"""Elastic weight consolidation, for learning and forgetting alike (Sec. 2.1, 2.2; A.3, A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.maximise import Maximise
from repair_pipeline.continual.posterior import Factor, Laplace
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class EWC:
    """Moves the mean to the maximum of Σ power · log p(Z|θ) + log q(θ): Eq. 10 for +1, Eq. 15 for -1."""

    maximise: Maximise
    precision: Literal["updated", "frozen"] = "updated"
    """``frozen`` keeps q's precision, as the paper does; ``updated`` adds the factors' curvature."""
    deleted: Literal["likelihood", "unlikelihood"] = "likelihood"
    """What a row z of a deleted factor adds to the objective: −log p(z|θ), without bound (Eq. 15), or log(1 − p(z|θ)),
    at most 0: the evidence that z's label is wrong. A p(z|θ) that rounds to 1 exerts no pull."""

    def __post_init__(self) -> None:
        if self.deleted == "unlikelihood" and self.precision == "updated":
            raise ValueError("an updated precision subtracts the likelihood's curvature: use precision=frozen")

    def update(self, q: Laplace, factors: list[Factor], log_lik: LogLikelihood) -> Laplace:
        device = q.mean.device
        examples = Examples.concat([factor.examples for factor in factors]).to(device)
        power = torch.cat([q.mean.new_full((len(factor.examples),), factor.power) for factor in factors])

        total = power.abs().sum()

        def log_posterior(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
            # Rows are drawn with probability proportional to |power|, so |power| stands in no term.
            batch = batch.to(device)
            log_p = log_lik(theta, examples[batch])
            if self.deleted == "likelihood":
                deleted = -log_p
            else:
                deleted = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps).log()
            data = torch.where(power[batch] > 0, log_p, deleted).mean()
            return total * data + q.log_density(theta)

        mean = self.maximise(log_posterior, power.abs(), q.mean)
        precision = q.precision
        if self.precision == "updated":
            for factor in factors:
                # A factor's curvature is taken where the factor is part of the posterior: at the new mean when it
                # is inserted, at the old one when it is deleted. So forgetting undoes learning exactly.
                precision = precision.updated(factor, mean if factor.power > 0 else q.mean, log_lik)
        return Laplace(mean, precision)
