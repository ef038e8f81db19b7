"""What may be read of a repaired model before the verdict."""

from dataclasses import dataclass

from torch import nn

from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy, mean_probability


@dataclass(frozen=True)
class Fitness:
    """A model on query_tuning and guard."""

    tuning_accuracy: float
    tuning_probability: float
    """The mean probability of the right class: moves where the accuracy of a few rows does not."""
    guard_accuracy: float

    def worth(self, tolerance: float) -> float:
        """How well the tuning failures are repaired, in [0, 1]: accuracy, with the probability between its steps.

        Where more than ``tolerance`` of the guard is lost it is negative: minus what is lost.
        """
        if self.guard_accuracy < 1 - tolerance:
            return self.guard_accuracy - 1
        return (self.tuning_accuracy + self.tuning_probability) / 2


def fitness(task: RepairTask, model: nn.Module) -> Fitness:
    """Measure a model on query_tuning and the guard rows that are watched.

    It compares settings of one treatment. Whoever compares treatments must keep these rows from those that train on the
    guard, as ``auto`` does.
    """
    tuning, (watched, _) = task.tests.query_tuning, watched_and_trained(task.tests.guard)
    return Fitness(accuracy(model, tuning), mean_probability(model, tuning), accuracy(model, watched))
