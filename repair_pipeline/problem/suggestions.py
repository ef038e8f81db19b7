"""Suggested labels for training rows whose given label is wrong, and the probability that a suggestion is right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from repair_pipeline.likelihoods.protocol import Labels, Likelihood
from repair_pipeline.problem.calibration import harmful_probability, natural_weights
from repair_pipeline.types import OutOfFold


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What the labels of D's rows are, as far as models know that were not trained on the given ones."""

    likelihood: Likelihood
    others: Float64[Tensor, "n *k"]
    """The soft label of a row if the given one is wrong: of classes the distribution p(y | x, y ≠ given)."""
    labels: Labels
    """The likeliest label if the given one is wrong."""
    probability: Float64[Tensor, " n"]
    """P(that label is right)."""

    def soft_labels(self, given: Labels, harmful: Float64[Tensor, " n"]) -> Float64[Tensor, "n *k"]:
        """The mean of the given label, weighted by P(it is right), and of what it is if it is wrong.

        Args:
            given: the given labels.
            harmful: P(the given label is wrong).
        """
        right = self.likelihood.soft(given, self.others)
        harmful = harmful.reshape(-1, *[1] * (right.dim() - 1))
        return (1 - harmful) * right + harmful * self.others


def harm(
    likelihood: Likelihood, predicted: OutOfFold, given: Labels, failure_share: float
) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " n"]]:
    """−log p(given label) in nats by models that were not trained on the row, and P(the given label is wrong).

    The clean rows, predicted in the same way, are the null distribution.

    Args:
        likelihood: of the models' outputs.
        predicted: by models that were not trained on the rows.
        given: D's labels.
        failure_share: the share of failures among all test rows.
    """
    values = likelihood.unlikelihood(predicted.fit, given)
    null = likelihood.unlikelihood(predicted.clean, predicted.clean_labels)
    return values, harmful_probability(values, values, null, _weights(predicted, failure_share))


def _weights(predicted: OutOfFold, failure_share: float) -> Float64[Tensor, " m"]:
    return natural_weights(predicted.failures, len(predicted.clean) - predicted.failures, failure_share)


def suggestions(
    likelihood: Likelihood, predicted: OutOfFold, given: Labels, harmful: Float64[Tensor, " n"], failure_share: float
) -> Suggestions:
    """Suggested labels, with P(right) = P(harmful) · P(right | the given label is wrong).

    The second factor is calibrated on the clean rows: isotonic regression of "the likeliest label is right" on the
    confidence in it, with failures at their natural share. It assumes that the models are as reliable on rows with a
    wrong label as on clean ones of the same confidence.

    Args:
        likelihood: of the models' outputs.
        predicted: by models that were not trained on the rows.
        given: D's labels.
        harmful: P(the given label is wrong), calibrated.
        failure_share: the share of failures among all test rows.
    """
    others = likelihood.others(predicted.fit, given)
    confidence, likeliest = likelihood.likeliest(predicted.clean)
    reliability = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        confidence.numpy(),
        likelihood.agree(likeliest, predicted.clean_labels).double().numpy(),
        sample_weight=_weights(predicted, failure_share).numpy(),
    )
    confidence, likeliest = likelihood.likeliest(others)
    right = torch.from_numpy(reliability.predict(confidence.numpy())).double()
    return Suggestions(likelihood, others, likeliest, harmful * right)
