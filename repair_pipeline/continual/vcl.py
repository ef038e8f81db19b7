"""Variational continual learning (Nguyen et al. 2018) with mean-field Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from repair_pipeline.continual.learner import log_factors
from repair_pipeline.continual.likelihood import LogLikelihood, log_likelihoods
from repair_pipeline.continual.maximise import Maximise
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class MeanField:
    """N(mean, diag deviation²); E_q of Eq. 7 is a true expectation."""

    mean: Theta
    deviation: Theta
    noise: Float[Tensor, "s p"]
    """Standard normal; the samples are mean + deviation · noise. Updates keep it, so q and q* use the same draws."""

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        """E_q[log p(z|θ)] by Monte Carlo: one forward pass per sample."""
        samples = (self.mean + self.deviation * noise for noise in self.noise)
        return torch.stack([log_likelihoods(log_lik, theta, examples) for theta in samples]).mean(dim=0)


@dataclass(frozen=True, eq=False)
class VCL:
    """Maximises Σ power · E_q*[log p(Z|θ)] − KL(q* ‖ q) over Gaussians q*, by the reparameterisation gradient."""

    maximise: Maximise
    generator: torch.Generator
    """Draws one sample of θ per step."""

    def update(self, q: MeanField, factors: list[Factor], log_lik: LogLikelihood) -> MeanField:
        log_data, weights = log_factors(factors, q.mean, log_lik)

        def evidence_bound(parameters: Theta, batch: Tensor) -> Float[Tensor, ""]:
            mean, log_ratio = parameters.chunk(2)
            ratio = log_ratio.exp()
            noise = torch.randn(mean.shape, generator=self.generator, dtype=mean.dtype).to(mean.device)
            shift = (mean - q.mean) / q.deviation
            divergence = 0.5 * (ratio.square() + shift.square() - 1).sum() - log_ratio.sum()
            return log_data(mean + q.deviation * ratio * noise, batch) - divergence

        start = torch.cat([q.mean, torch.zeros_like(q.mean)])
        mean, log_ratio = self.maximise(evidence_bound, weights, start).chunk(2)
        return replace(q, mean=mean, deviation=q.deviation * log_ratio.exp())
