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
    """Approximates q'(θ) ∝ q(θ) ∏ p(Z|θ)^power (Eq. 13; A.3, A.4)."""

    def update(self, q: Q, factors: list[Factor], log_lik: LogLikelihood) -> Q:
        """The posterior after all factors at once.

        Args:
            q: the current posterior.
            factors: powers > 0 insert data (Eq. 10), powers < 0 delete data (Eq. 13).
            log_lik: log p(z|θ).
        """


def learn(
    learner: ContinualLearner[Q], q: Q, failures: Examples, log_lik: LogLikelihood, guard: Factor | None = None
) -> Q:
    """p(θ|D, F): insert the failures, together with the guard's tempered factor if there is one."""
    return learner.update(q, [Factor(failures, 1), *([guard] if guard else [])], log_lik)


def forget(learner: ContinualLearner[Q], q: Q, causes: Examples, log_lik: LogLikelihood) -> Q:
    """p(θ|D∖C) ∝ q(θ) / p(C|θ): delete the causes (Eq. 13)."""
    return learner.update(q, [Factor(causes, -1)], log_lik)


Deleted = Literal["likelihood", "unlikelihood"]
"""The term of a deleted row z in the objective: −log p(z|θ), which is unbounded (Eq. 15), or log(1 − p(z|θ)) ≤ 0, the
evidence that z's label is wrong. If p(z|θ) rounds to 1, the latter has no gradient."""


def log_factors(
    factors: list[Factor], start: Theta, log_lik: LogLikelihood, deleted: Deleted = "likelihood"
) -> tuple[Objective, Weights]:
    """Σ power · log p(Z|θ) in the form that ``Maximise`` takes.

    Args:
        factors: the factors.
        start: only its device and dtype are used.
        log_lik: log p(z|θ).
        deleted: the objective's term for rows of negative power.

    Returns:
        The estimate of the sum from a batch, and the weights by which rows are drawn.
    """
    examples = Examples.concat([factor.examples for factor in factors]).to(start.device)
    power = torch.cat([start.new_full((len(factor.examples),), factor.power) for factor in factors])
    total = power.abs().sum()

    def estimate(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
        # Rows are drawn with probability proportional to |power|, so |power| does not appear in the terms.
        batch = batch.to(start.device)
        log_p = log_lik(theta, examples[batch])
        if deleted == "likelihood":
            deletion = -log_p
        else:
            deletion = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps).log()
        return total * torch.where(power[batch] > 0, log_p, deletion).mean()

    return estimate, power.abs()
