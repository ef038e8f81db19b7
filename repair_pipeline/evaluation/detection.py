"""How much of what was found had been planted (Fig. 2c)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from repair_pipeline.types import Causes, InfluenceScores


@dataclass(frozen=True)
class Detection:
    """Ranking quality against the planted rows of D; None where nothing is planted."""

    auc: float | None
    average_precision: float | None
    precision_at_n: float | None
    """Precision among the n most harmful, n = ``n_corrupted``."""
    n_corrupted: int
    n_causes: int
    precision: float | None
    """Of the causes under the case's rule; None where it takes none."""
    recall: float | None


def detect(scores: InfluenceScores, corrupted: Bool[Tensor, " n"], causes: Causes) -> Detection:
    """Compare a ranking of D with the mask of its planted rows."""
    planted = corrupted.numpy()
    n = int(planted.sum())
    if n == 0:
        return Detection(None, None, None, 0, len(causes), None, None)
    hits = planted[scores.order]
    hits_of_causes = int(hits[: len(causes)].sum())
    return Detection(
        auc=float(roc_auc_score(planted, scores.values.numpy())),
        average_precision=float(average_precision_score(planted, scores.values.numpy())),
        precision_at_n=float(hits[:n].mean()),
        n_corrupted=n,
        n_causes=len(causes),
        precision=hits_of_causes / len(causes) if len(causes) else None,
        recall=hits_of_causes / n,
    )


def detection_curve(
    scores: InfluenceScores, corrupted: Bool[Tensor, " n"], points: int = 200
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Planted rows found against rows inspected in descending order of influence.

    Returns:
        ``inspected`` and ``found``, both starting at 0 and ending at N, at most ``points`` + 1 entries.
    """
    found = np.concatenate([[0], corrupted.numpy()[scores.order].cumsum()])
    inspected = np.unique(np.linspace(0, len(scores.ids), points + 1).round().astype(np.int64))
    return inspected, found[inspected]
