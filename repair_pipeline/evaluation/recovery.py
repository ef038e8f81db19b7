"""Recovery: whether failures are repaired and correct rows stay correct (Sec. 4.1)."""

from dataclasses import dataclass

from torch import nn

from repair_pipeline.training.fit import accuracy, mean_error
from repair_pipeline.types import TestPartition


@dataclass(frozen=True)
class Recovery:
    """A model's accuracy on parts of the test set. The base model's accuracy on failures is 0 by construction."""

    query_accuracy: float
    holdout_accuracy: float
    remaining_accuracy: float
    unseen_accuracy: float
    """Holdout and remaining together, weighted by the test set's natural share of failures."""
    holdout_error: float | None
    """The mean absolute error, in the label's unit; None where labels are classes."""
    remaining_error: float | None
    unseen_error: float | None


def recovery(model: nn.Module, partition: TestPartition) -> Recovery:
    """Measure a model on all parts; reads the holdout."""
    share = partition.failure_share
    holdout = accuracy(model, partition.holdout)
    remaining = accuracy(model, partition.remaining)
    errors = [mean_error(model, rows) for rows in (partition.holdout, partition.remaining)]
    weighted = [weight * error for weight, error in zip((share, 1 - share), errors, strict=True) if error is not None]
    return Recovery(
        query_accuracy=accuracy(model, partition.query),
        holdout_accuracy=holdout,
        remaining_accuracy=remaining,
        unseen_accuracy=share * holdout + (1 - share) * remaining,
        holdout_error=errors[0],
        remaining_error=errors[1],
        unseen_error=sum(weighted) if weighted else None,
    )
