"""Learning from the query side: the failures F_q and the guard, for influence methods and treatments alike."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.likelihood import log_likelihoods
from repair_pipeline.continual.maximise import EarlyStopped
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.errors import InputError
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class QueryBased:
    """Settings shared by all methods that use the failures, so that they are compared on the same rows."""

    guard: Literal["none", "joint"] = "joint"
    """``joint``: correctly classified cases are learnt together with the failures, so r̃ measures conflict with F ∪ B.
    ``none``: failures only, as in the paper."""
    guard_ratio: PositiveFloat | None = None
    """|B_q| / |F_q|; None uses the whole guard pool (``docs/adr/0007``)."""
    guard_rho: PositiveFloat = 1.0
    """ρ, guard cases per failure and epoch: the guard is the tempered factor p(B_q|θ)^τ, τ = ρ|F_q| / |B_q|."""

    def factors(self, task: RepairTask) -> list[Factor]:
        """p(F_q|θ), followed by p(B_q|θ)^τ if there is a guard.

        Raises:
            InputError: a guard is required, but the base model classifies no test row correctly.
        """
        failures, pool = task.tests.query, task.tests.guard
        if self.guard == "none":
            return [Factor(failures, 1)]
        if len(pool) == 0:
            raise InputError("the guard pool is empty, as the base model gets no test row right: set guard=none")
        count = len(pool) if self.guard_ratio is None else max(1, round(self.guard_ratio * len(failures)))
        cases = pool[:count]
        return [Factor(failures, 1), Factor(cases, power=self.guard_rho * len(failures) / len(cases))]

    def notes(self, factors: list[Factor]) -> Mapping[str, float]:
        """The sizes and weights for the table's metadata."""
        failures, *guard = factors
        return {
            "failures": len(failures.examples),
            "guard_cases": sum(len(factor.examples) for factor in guard),
            "guard_tau": sum(factor.power for factor in guard),
            "guard_rho": self.guard_rho if guard else 0.0,
        }


def watched_and_trained(guard: Examples) -> tuple[Examples, Examples]:
    """The guard split into rows for monitoring only, and disjoint rows that may be trained on.

    The first half is monitored, at most 1,000 rows.
    """
    # 1,000 rows determine an accuracy of 0.98 to within 0.005.
    count = min(1000, len(guard) // 2)
    return guard[:count], guard[count:]


def early_stopped(task: RepairTask, learnt: Examples, score: Callable[[Theta], float]) -> EarlyStopped:
    """App. C's optimiser for learning F_q and deleting C: stops when ``score`` has not improved for 5 epochs.

    Args:
        task: gives the random stream and the progress callback.
        learnt: the rows in the objective; their number defines an epoch.
        score: of θ, higher is better.
    """
    epoch = -(-len(learnt) // 64)
    return EarlyStopped(
        task.generator,
        score,
        learning_rate=1e-3,
        batch_size=64,
        patience=5,
        max_steps=100 * epoch,
        check_every=epoch,
        progress=task.progress,
    )


def stopped_by_loss(task: RepairTask) -> EarlyStopped:
    """App. C and B.4's optimiser for learning F_q, stopped by the mean log p(query_tuning|θ)."""

    def tuning_log_lik(theta: Theta) -> float:
        return log_likelihoods(task.classifier, theta, task.tests.query_tuning).mean().item()

    return early_stopped(task, task.tests.query, tuning_log_lik)
