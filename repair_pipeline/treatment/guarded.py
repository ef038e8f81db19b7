"""Which model on the way is kept, where the objective itself does not say when to stop."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from repair_pipeline.errors import InputError
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy, mean_probability
from repair_pipeline.types import Theta

Tolerance = Annotated[float, Field(ge=0, lt=1)]
"""How much of the watched guard, all of it right under θ̂, may be lost."""


def repair_within_guard(task: RepairTask, tolerance: Tolerance) -> Callable[[Theta], float]:
    """Scores θ by mean p(y|x,θ) over query_tuning; −∞ where accuracy on the watched guard is below 1 − ``tolerance``.

    Of a few rows the mean probability tells more than the accuracy. θ̂ has a score too, so whoever keeps the best, and
    repairs nothing within the tolerance, leaves the model as it is.

    Raises:
        InputError: there are too few guard rows to watch any.
    """
    watched, _ = watched_and_trained(task.tests.guard)
    if not len(watched):
        raise InputError(
            f"{len(task.tests.guard)} guard rows are given, and this treatment watches some of them: "
            "give rows that the base model gets right, or treat by finetune"
        )

    def score(theta: Theta) -> float:
        model = task.classifier.module(theta)
        if accuracy(model, watched) < 1 - tolerance:
            return -float("inf")
        return mean_probability(model, task.tests.query_tuning)

    return score
