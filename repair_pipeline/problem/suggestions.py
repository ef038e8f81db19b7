"""Suggested labels for training rows whose given label is wrong, and the probability that a suggestion is right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn

from repair_pipeline.problem.calibration import harmful_probability, natural_weights
from repair_pipeline.types import OutOfFold


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What the labels of D's rows are, as far as models know that were not trained on the given ones."""

    others: Float64[Tensor, "n k"]
    """p(y | x, y ≠ given): the distribution of a row's label if the given one is wrong."""
    probability: Float64[Tensor, " n"]
    """P(the likeliest other label is right)."""

    @property
    def labels(self) -> Int64[Tensor, " n"]:
        """The likeliest label other than the given one."""
        return self.others.argmax(dim=1)

    def soft_labels(self, given: Int64[Tensor, " n"], harmful: Float64[Tensor, " n"]) -> Float64[Tensor, "n k"]:
        """P(given label is right) at the given label, and the rest spread over the others by their probabilities.

        Args:
            given: the given labels.
            harmful: P(the given label is wrong).
        """
        right = nn.functional.one_hot(given, self.others.shape[1]).to(self.others)
        return (1 - harmful)[:, None] * right + harmful[:, None] * self.others


def harm(
    predicted: OutOfFold, given: Int64[Tensor, " n"], failure_share: float
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """−log p(given label) in nats by models that were not trained on the row, and P(the given label is wrong).

    The clean rows, predicted in the same way, are the null distribution.

    Args:
        predicted: by models that were not trained on the rows.
        given: D's labels.
        failure_share: the share of failures among all test rows.
    """
    values = _unlikelihood(predicted.fit, given)
    null = _unlikelihood(predicted.clean, predicted.clean_labels)
    return values, harmful_probability(values, values, null, _weights(predicted, failure_share))


def _weights(predicted: OutOfFold, failure_share: float) -> Float64[Tensor, " m"]:
    return natural_weights(predicted.failures, len(predicted.clean) - predicted.failures, failure_share)


def _unlikelihood(probabilities: Float64[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    tiny = torch.finfo(torch.float64).tiny
    return -probabilities.gather(1, labels[:, None]).flatten().clamp_min(tiny).log()


def suggestions(
    predicted: OutOfFold, given: Int64[Tensor, " n"], harmful: Float64[Tensor, " n"], failure_share: float
) -> Suggestions:
    """Suggested labels, with P(right) = P(harmful) · P(right | the given label is wrong).

    The second factor is calibrated on the clean rows: isotonic regression of "the likeliest label is right" on its
    probability, with failures at their natural share. It assumes that the models are as reliable on rows with a wrong
    label as on clean ones of the same confidence.

    Args:
        predicted: by models that were not trained on the rows.
        given: D's labels.
        harmful: P(the given label is wrong), calibrated.
        failure_share: the share of failures among all test rows.
    """
    others = predicted.fit.clamp_min(torch.finfo(torch.float64).tiny).scatter(1, given[:, None], 0.0)
    others = others / others.sum(dim=1, keepdim=True)
    confidence, likeliest = predicted.clean.max(dim=1)
    reliability = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        confidence.numpy(),
        (likeliest == predicted.clean_labels).double().numpy(),
        sample_weight=_weights(predicted, failure_share).numpy(),
    )
    right = torch.from_numpy(reliability.predict(others.max(dim=1).values.numpy())).double()
    return Suggestions(others, harmful * right)
