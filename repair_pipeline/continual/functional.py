"""Functional regularisation: the model's predictions on D are kept close, not its parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from repair_pipeline.continual.learner import log_factors
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood, log_likelihoods
from repair_pipeline.continual.maximise import Maximise
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, eq=False)
class FunctionalPosterior:
    """q(θ) ∝ exp(−(2/γ) · mean over D of KL(p(·|x,mean) ‖ p(·|x,θ))). D's labels are not used.

    To second order this is the Laplace posterior with the full expected Fisher: each row's KL is ½ δᵀFδ (Eq. 23 without
    the diagonal approximation), so γ = 2/N is the posterior's value here too.
    """

    mean: Theta
    classifier: Classifier
    examples: Examples
    """D."""
    gamma: float

    def log_density(self, theta: Theta, rows: Int64[Tensor, " m"]) -> Float[Tensor, ""]:
        """log q(θ) in nats, up to a constant.

        Args:
            theta: θ.
            rows: positions of uniformly drawn rows of D; the estimate from them is unbiased.
        """
        drawn = self.examples[rows].to(theta.device)
        inputs = drawn.inputs
        with torch.no_grad():
            before = self.classifier.logits(self.mean, inputs)
        after = self.classifier.logits(theta, inputs)
        return -2 / self.gamma * self.classifier.likelihood.divergence(before, after, drawn.labels).mean()

    def expected_log_lik(self, log_lik: LogLikelihood, examples: Examples) -> Float64[Tensor, " n"]:
        """log p(z|θ) at the mean, as for ``Laplace``."""
        return log_likelihoods(log_lik, self.mean, examples)


@dataclass(frozen=True, eq=False)
class FunctionalRegularisation:
    """Moves the mean to the maximum of Σ power · log p(Z|θ) + log q(θ), with fresh rows of D in every step.

    The new q is centred on the new mean's predictions with the same γ: like EWC's frozen precision, it does not narrow.
    """

    maximise: Maximise
    generator: torch.Generator
    """Draws the rows of D."""
    batch_size: int = 128

    def update(self, q: FunctionalPosterior, factors: list[Factor], log_lik: LogLikelihood) -> FunctionalPosterior:
        log_data, weights = log_factors(factors, q.mean, log_lik)

        def log_posterior(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
            rows = torch.randperm(len(q.examples), generator=self.generator)[: self.batch_size]
            return log_data(theta, batch) + q.log_density(theta, rows)

        return replace(q, mean=self.maximise(log_posterior, weights, q.mean))
