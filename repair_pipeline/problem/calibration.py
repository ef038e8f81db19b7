"""The probability that a training row is harmful, from its score and those of rows known to be clean."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

FALSE_SHARE = 0.1
"""The largest expected share of harmless rows among causes, where none is given."""


def harmful_probability(
    values: Float64[Tensor, " v"],
    scored: Float64[Tensor, " n"],
    null: Float64[Tensor, " m"],
    weights: Float64[Tensor, " m"],
) -> Float64[Tensor, " v"]:
    """P(harmful | score) = 1 − π₀ f₀ / f: the complement of the local false discovery rate (Efron 2004).

    f is the density of the scores of D and f₀ that of clean rows. Isotonic regression of "belongs to D" on the score
    gives the ratio f / f₀, which must not fall as scores rise. π₀, the share of clean rows in D, is the share of D
    below the median of the clean rows, divided by one half (Storey 2002): an upper bound, because some harmful rows lie
    there too. If clean rows of D score lower than clean rows that were not trained on, all probabilities are too low.

    Args:
        values: the scores to evaluate.
        scored: scores of D's rows.
        null: scores of clean rows.
        weights: of the clean rows, for a natural mix of failures and others.

    Returns:
        Probabilities in [0, 1], which never fall as ``values`` rise.
    """
    # Half a clean row above all others, as Jeffreys' prior counts: without it, P would be 1 for every score above the
    # largest of the clean ones.
    top = torch.maximum(scored.max(), null.max()) + 1
    clean, weight = torch.cat([null, top[None]]), torch.cat([weights, weights.new_full((1,), 0.5)])
    of_data = torch.cat([torch.ones(len(scored)), torch.zeros(len(clean))])
    regression = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        torch.cat([scored, clean]).numpy(),
        of_data.numpy(),
        sample_weight=torch.cat([torch.ones(len(scored)), weight]).numpy(),
    )
    share = torch.from_numpy(regression.predict(values.numpy())).double()
    odds_against = (1 - share) / share.clamp_min(1e-12)
    clean_share = _clean_share(scored, clean, weight)
    return (1 - clean_share * odds_against * len(scored) / weight.sum()).clamp_min(0)


def natural_weights(failures: int, others: int, failure_share: float) -> Float64[Tensor, " m"]:
    """Weights of query failures, followed by guard rows, with a mean of 1, that give failures their natural share.

    Args:
        failures: number of query failures.
        others: number of guard rows.
        failure_share: the share of failures among all test rows.
    """
    rows, share = failures + others, failure_share if failures and others else float(failures > 0)
    of_failure, of_other = share * rows / max(1, failures), (1 - share) * rows / max(1, others)
    return torch.cat([torch.full((failures,), of_failure), torch.full((others,), of_other)]).double()


def within_false_share(probability: Float64[Tensor, " n"], order: NDArray[np.int64], bound: float) -> int:
    """The largest number of first rows in ``order`` whose expected share of false causes is at most ``bound``.

    The expected share is the mean of 1 − P over these rows.
    """
    false = (1 - probability.numpy()[order]).cumsum() / np.arange(1, len(order) + 1)
    return int(np.flatnonzero(false <= bound).max(initial=-1)) + 1


def _clean_share(scored: Tensor, clean: Tensor, weight: Tensor) -> float:
    order = clean.argsort()
    below = weight[order].cumsum(0) / weight.sum()
    median = clean[order][int(torch.searchsorted(below, below.new_tensor(0.5)))]
    clean_below = weight[clean <= median].sum() / weight.sum()
    # One row more, as Storey's finite-sample estimate counts: no score makes a share of 0 certain.
    return min(1.0, float((int((scored <= median).sum()) + 1) / len(scored) / clean_below))
