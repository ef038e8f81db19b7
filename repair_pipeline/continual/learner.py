"""Learning and forgetting are one update (Sec. 2.2)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.posterior import Factor, Laplace
from repair_pipeline.types import Examples


@runtime_checkable
class ContinualLearner(Protocol):
    """Approximates q'(θ) ∝ q(θ) ∏ p(Z|θ)^power."""

    def update(self, q: Laplace, factors: list[Factor], log_lik: LogLikelihood) -> Laplace:
        """The posterior after all ``factors`` at once (Eq. 10 for powers > 0, Eq. 13 for powers < 0)."""


def learn(
    learner: ContinualLearner, q: Laplace, failures: Examples, log_lik: LogLikelihood, guard: Factor | None = None
) -> Laplace:
    """p(θ|D, F): insert the failures, and the guard's tempered factor beside them where there is one."""
    return learner.update(q, [Factor(failures, 1), *([guard] if guard else [])], log_lik)


def forget(learner: ContinualLearner, q: Laplace, causes: Examples, log_lik: LogLikelihood) -> Laplace:
    """p(θ|D∖C) ∝ q(θ) / p(C|θ): delete the causes (Eq. 13)."""
    return learner.update(q, [Factor(causes, -1)], log_lik)
