"""LDS, the effect of removals, and their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def lds(predicted: Float[np.ndarray, "s m"], measured: Float[np.ndarray, "s m"]) -> Float[np.ndarray, " m"]:
    """The linear datamodelling score of each of m queries: Spearman's correlation over s subsets (Park et al. 2023).

    Args:
        predicted: the sum of a query's influences over the rows of a subset.
        measured: the query's log p by a model trained on that subset.
    """
    ranks, truth = (_standardised(rankdata(values, axis=0)) for values in (predicted, measured))
    return (ranks * truth).mean(axis=0)


def mean_lds(predicted: Float[np.ndarray, "s m"], measured: Float[np.ndarray, "s m"]) -> Estimate:
    """The mean LDS over queries; the interval resamples queries."""
    scores = lds(predicted, measured)
    rng = np.random.default_rng(0)
    means = scores[rng.integers(len(scores), size=(_RESAMPLES, len(scores)))].mean(axis=1)
    return _estimate(scores.mean(), means)


def summed_lds(predicted: Float[np.ndarray, " s"], measured: Float[np.ndarray, " s"]) -> Estimate:
    """The LDS of one sum over queries; the interval resamples subsets."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(predicted), size=(_RESAMPLES, len(predicted)))
    values = lds(predicted[drawn].T, measured[drawn].T)
    return _estimate(lds(predicted[:, None], measured[:, None])[0], values)


def gained(without: Float[np.ndarray, "r m"], control: Float[np.ndarray, "r m"]) -> Estimate:
    """The mean log p that m queries gain without the rows of a method, over what they gain without random rows.

    The interval resamples retrainings and queries together.

    Args:
        without: log p after each of r retrainings without the method's rows.
        control: the same without as many random rows.
    """
    rng = np.random.default_rng(0)
    (r, m), s = without.shape, len(control)
    values = []
    for _ in range(_RESAMPLES):
        queries = rng.integers(m, size=m)
        mine, its = without[rng.integers(r, size=r)][:, queries], control[rng.integers(s, size=s)][:, queries]
        values.append(mine.mean() - its.mean())
    return _estimate(without.mean() - control.mean(), np.array(values))


def area(scores: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]) -> Estimate:
    """ROC AUC of the scores against the wrong rows; the interval is Hanley and McNeil's (1982)."""
    positive, negative = int(wrong.sum()), int((~wrong).sum())
    auc = (rankdata(scores)[wrong].sum() - positive * (positive + 1) / 2) / (positive * negative)
    spread = auc * (1 - auc) + (positive - 1) * (auc / (2 - auc) - auc**2)
    spread += (negative - 1) * (2 * auc**2 / (1 + auc) - auc**2)
    half = 1.96 * np.sqrt(spread / (positive * negative))
    return Estimate(float(auc), float(auc - half), float(min(1, auc + half)))


def _standardised(values: Float[np.ndarray, "s m"]) -> Float[np.ndarray, "s m"]:
    centred = values - values.mean(axis=0)
    spread = values.std(axis=0)
    # Without any spread there is no order to predict: a correlation of 0.
    return centred / np.where(spread > 0, spread, 1)


def _estimate(value: float, resampled: Float[np.ndarray, " b"]) -> Estimate:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))
