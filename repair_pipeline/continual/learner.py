"""Learning and forgetting are one update (Sec. 2.2)."""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.maximise import Objective, Weights
from repair_pipeline.continual.posterior import Factor, Posterior
from repair_pipeline.types import Examples, Theta

Q = TypeVar("Q", bound=Posterior)


@runtime_checkable
class ContinualLearner(Protocol[Q]):
    """Approximates q'(θ) ∝ q(θ) ∏ p(Z|θ)^power."""

    def update(self, q: Q, factors: list[Factor], log_lik: LogLikelihood) -> Q:
        """The posterior after all ``factors`` at once (Eq. 10 for powers > 0, Eq. 13 for powers < 0)."""


def learn(
    learner: ContinualLearner[Q], q: Q, failures: Examples, log_lik: LogLikelihood, guard: Factor | None = None
) -> Q:
    """p(θ|D, F): insert the failures, and the guard's tempered factor beside them where there is one."""
    return learner.update(q, [Factor(failures, 1), *([guard] if guard else [])], log_lik)


def forget(learner: ContinualLearner[Q], q: Q, causes: Examples, log_lik: LogLikelihood) -> Q:
    """p(θ|D∖C) ∝ q(θ) / p(C|θ): delete the causes (Eq. 13)."""
    return learner.update(q, [Factor(causes, -1)], log_lik)


Deleted = Literal["likelihood", "unlikelihood"]
"""What a row z of a deleted factor adds to an objective: −log p(z|θ), without bound (Eq. 15), or log(1 − p(z|θ)), at
most 0: the evidence that z's label is wrong. A p(z|θ) that rounds to 1 exerts no pull."""


def log_factors(
    factors: list[Factor], start: Theta, log_lik: LogLikelihood, deleted: Deleted = "likelihood"
) -> tuple[Objective, Weights]:
    """Σ power · log p(Z|θ) as what a ``Maximise`` takes: its estimate from a batch, and how often to draw each row.

    ``start`` says the device and the precision only.
    """
    examples = Examples.concat([factor.examples for factor in factors]).to(start.device)
    power = torch.cat([start.new_full((len(factor.examples),), factor.power) for factor in factors])
    total = power.abs().sum()

    def estimate(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
        # Rows are drawn with probability proportional to |power|, so |power| stands in no term.
        batch = batch.to(start.device)
        log_p = log_lik(theta, examples[batch])
        if deleted == "likelihood":
            against = -log_p
        else:
            against = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps).log()
        return total * torch.where(power[batch] > 0, log_p, against).mean()

    return estimate, power.abs()
