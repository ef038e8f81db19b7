"""Detection: how well the influence scores identify the planted rows (Fig. 2c)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from repair_pipeline.types import Causes, InfluenceScores


@dataclass(frozen=True)
class Detection:
    """Ranking quality against the planted rows of D; None if nothing is planted."""

    auc: float | None
    average_precision: float | None
    precision_at_n: float | None
    """Precision among the n most harmful rows, n = ``n_corrupted``."""
    n_corrupted: int
    """Number of planted rows."""
    n_causes: int
    """Number of causes under the case's rule."""
    precision: float | None
    """The share of the causes that are planted; None if there are no causes."""
    recall: float | None
    """The share of the planted rows that are causes."""


def detect(scores: InfluenceScores, corrupted: Bool[Tensor, " n"], causes: Causes) -> Detection:
    """Compare a ranking of D with the planted rows.

    Args:
        scores: of all rows of D.
        corrupted: mask of the planted rows, in the order of ``scores``.
        causes: under the case's rule; the first of the ranking.
    """
    planted = corrupted.numpy()
    n = int(planted.sum())
    if n == 0:
        return Detection(None, None, None, 0, len(causes), None, None)
    hits = planted[scores.order]
    true_causes = int(hits[: len(causes)].sum())
    return Detection(
        auc=float(roc_auc_score(planted, scores.values.numpy())),
        average_precision=float(average_precision_score(planted, scores.values.numpy())),
        precision_at_n=float(hits[:n].mean()),
        n_corrupted=n,
        n_causes=len(causes),
        precision=true_causes / len(causes) if len(causes) else None,
        recall=true_causes / n,
    )


def detection_curve(
    scores: InfluenceScores, corrupted: Bool[Tensor, " n"], points: int = 200
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of planted rows found as a function of the rows inspected, most harmful first.

    Args:
        scores: of all rows of D.
        corrupted: mask of the planted rows, in the order of ``scores``.
        points: number of intervals.

    Returns:
        ``inspected``, from 0 to N, and ``found``, from 0 to the number of planted rows; at most ``points`` + 1 entries.
    """
    hits = np.concatenate([[0], corrupted.numpy()[scores.order].cumsum()])
    inspected = np.unique(np.linspace(0, len(scores.ids), points + 1).round().astype(np.int64))
    return inspected, hits[inspected]
