"""Measures of a repaired model that may be used before the verdict."""

from dataclasses import dataclass

from torch import nn

from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy, mean_probability


@dataclass(frozen=True)
class Fitness:
    """A model's results on query_tuning and on the monitored guard rows."""

    tuning_accuracy: float
    tuning_probability: float
    """The mean probability of the correct class, which has finer steps than the accuracy of a few rows."""
    guard_accuracy: float

    def worth(self, tolerance: float) -> float:
        """How well the tuning failures are repaired, in [0, 1]: the mean of accuracy and probability.

        If more than ``tolerance`` of the guard is lost, it is negative: minus the share that is lost.
        """
        if self.guard_accuracy < 1 - tolerance:
            return self.guard_accuracy - 1
        return (self.tuning_accuracy + self.tuning_probability) / 2


def fitness(task: RepairTask, model: nn.Module) -> Fitness:
    """Evaluate a model on query_tuning and on the monitored guard rows.

    To compare treatments, keep these rows out of those that train on the guard, as ``auto`` does.
    """
    tuning, (watched, _) = task.tests.query_tuning, watched_and_trained(task.tests.guard)
    return Fitness(accuracy(model, tuning), mean_probability(model, tuning), accuracy(model, watched))
