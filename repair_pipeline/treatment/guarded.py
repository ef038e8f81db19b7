"""Model selection along an optimisation path, for objectives without a stopping point of their own."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from repair_pipeline.errors import InputError
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy, mean_probability
from repair_pipeline.types import Examples, Theta

Tolerance = Annotated[float, Field(ge=0, lt=1)]
"""The share of the monitored guard rows, all correct under θ̂, that may be lost."""


def repair_within_guard(task: RepairTask, tolerance: Tolerance) -> Callable[[Theta], float]:
    """A score of θ: mean p(y|x,θ) over query_tuning, or −∞ if accuracy on the monitored guard is below 1 − tolerance.

    For a few rows the mean probability is more informative than the accuracy. θ̂ has a finite score too, so selecting
    the best θ keeps the original model if nothing is repaired within the tolerance.

    Raises:
        InputError: there are too few guard rows to monitor any.
    """
    watched = watched_guard(task)

    def score(theta: Theta) -> float:
        model = task.classifier.module(theta)
        if accuracy(model, watched) < 1 - tolerance:
            return -float("inf")
        return mean_probability(model, task.tests.query_tuning)

    return score


def watched_guard(task: RepairTask) -> Examples:
    """The monitored guard rows.

    Raises:
        InputError: there are too few guard rows to monitor any.
    """
    watched, _ = watched_and_trained(task.tests.guard)
    if not len(watched):
        raise InputError(
            f"{len(task.tests.guard)} guard rows are too few for this treatment, which monitors half of them: "
            "give more rows that the base model gets right, or treat by finetune"
        )
    return watched
