"""Recovery: whether failures are repaired and correct rows stay correct (Sec. 4.1)."""

from dataclasses import dataclass

from torch import nn

from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.training.fit import accuracy, measured
from repair_pipeline.types import TestPartition


@dataclass(frozen=True)
class Recovery:
    """A model's accuracy on parts of the test set. The base model's accuracy on failures is 0 by construction."""

    query_accuracy: float
    holdout_accuracy: float
    remaining_accuracy: float
    unseen_accuracy: float
    """Holdout and remaining together, weighted by the test set's natural share of failures."""
    measure: str | None
    """The name of the task's own number, such as ``error`` or ``perplexity``; None where it has none."""
    holdout_measure: float | None
    remaining_measure: float | None
    unseen_measure: float | None


def recovery(model: nn.Module, partition: TestPartition) -> Recovery:
    """Measure a model on all parts; reads the holdout."""
    share = partition.failure_share
    holdout = accuracy(model, partition.holdout)
    remaining = accuracy(model, partition.remaining)
    return Recovery(
        query_accuracy=accuracy(model, partition.query),
        holdout_accuracy=holdout,
        remaining_accuracy=remaining,
        unseen_accuracy=share * holdout + (1 - share) * remaining,
        measure=likelihood_of(model).measure,
        holdout_measure=measured(model, [(1, partition.holdout)]),
        remaining_measure=measured(model, [(1, partition.remaining)]),
        unseen_measure=measured(model, [(share, partition.holdout), (1 - share, partition.remaining)]),
    )
