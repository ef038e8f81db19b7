"""Learning and forgetting are one update (Sec. 2.2)."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.posterior import Factor, Posterior
from repair_pipeline.types import Examples

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
