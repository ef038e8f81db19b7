"""What is learnt from the query side, the same for finding causes and for treating: F_q, and the guard beside it."""

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
    """Settings that every method which reads the failures has, so that methods are compared on the same rows."""

    guard: Literal["none", "joint"] = "joint"
    """``joint``: cases that the model gets right are learnt beside the failures, so r̃ is conflict with F ∪ B.
    ``none``: the paper's."""
    guard_ratio: PositiveFloat | None = None
    """|B_q| / |F_q|; None draws on the whole guard pool (``docs/adr/0007``)."""
    guard_rho: PositiveFloat = 1.0
    """ρ, guard cases per failure in every pass: the guard is the tempered factor p(B_q|θ)^τ, τ = ρ|F_q| / |B_q|."""

    def factors(self, task: RepairTask) -> list[Factor]:
        """p(F_q|θ), and p(B_q|θ)^τ where there is a guard.

        Raises:
            InputError: a guard is asked for and no case is right under θ̂.
        """
        failures, pool = task.tests.query, task.tests.guard
        if self.guard == "none":
            return [Factor(failures, 1)]
        if len(pool) == 0:
            raise InputError("the guard pool is empty, as the base model is right on no test row: set guard=none")
        count = len(pool) if self.guard_ratio is None else max(1, round(self.guard_ratio * len(failures)))
        cases = pool[:count]
        return [Factor(failures, 1), Factor(cases, power=self.guard_rho * len(failures) / len(cases))]

    def notes(self, factors: list[Factor]) -> Mapping[str, float]:
        """The sizes and weights that stand beside the table."""
        failures, *guard = factors
        return {
            "failures": len(failures.examples),
            "guard_cases": sum(len(factor.examples) for factor in guard),
            "guard_tau": sum(factor.power for factor in guard),
            "guard_rho": self.guard_rho if guard else 0.0,
        }


def watched_and_trained(guard: Examples) -> tuple[Examples, Examples]:
    """The guard's rows that are only looked at, and the others, which an objective may hold: no row is in both."""
    # 1,000 rows tell an accuracy of 0.98 to within 0.005.
    count = min(1000, len(guard) // 2)
    return guard[:count], guard[count:]


def early_stopped(task: RepairTask, learnt: Examples, score: Callable[[Theta], float]) -> EarlyStopped:
    """App. C's scheme for learning F_q and for deleting C: stop when ``score`` has not risen for 5 epochs."""
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
    """App. C and B.4: for learning F_q, the score is log p(query_tuning|θ)."""

    def tuning_log_lik(theta: Theta) -> float:
        return log_likelihoods(task.classifier, theta, task.tests.query_tuning).mean().item()

    return early_stopped(task, task.tests.query, tuning_log_lik)
