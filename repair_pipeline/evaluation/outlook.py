"""What a review has found, and what the next rows are expected to hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

NEXT = 50
"""Rows that the forecast is about."""
WORTHWHILE = 0.1
"""The share of wrong rows below which a review may stop: ten rows are read to find one."""
SPREAD = 2.0
"""How far log odds are off, as a standard deviation, before anything was reviewed: a factor of 7 up or down."""
_CERTAIN = 1e-3
"""Probabilities are kept this far from 0 and 1: none of them is certain."""


@dataclass(frozen=True)
class Outlook:
    """How a review stands."""

    reviewed: int
    """Rows that were decided to be wrong or right."""
    wrong: int
    """Those of them that were to be dropped or relabelled."""
    next_rows: int
    """The next rows, at most ``NEXT``."""
    expected: float | None
    """How many of them are expected to be wrong; None if nothing is known: no probabilities and no decisions."""
    expected_left: float | None
    """How many of all rows that are left are expected to be wrong; None without probabilities."""

    @property
    def precision(self) -> float | None:
        """The share of the reviewed rows that were wrong; None before the first decision."""
        return self.wrong / self.reviewed if self.reviewed else None

    @property
    def may_stop(self) -> bool:
        """Whether fewer than ``WORTHWHILE`` of the next rows are expected to be wrong."""
        return self.next_rows == 0 or (self.expected is not None and self.expected < WORTHWHILE * self.next_rows)


def outlook(
    probability: Float64[np.ndarray, " n"] | None,
    reviewed: Sequence[int],
    wrong: Sequence[bool],
    left: NDArray[np.int64],
) -> Outlook:
    """What the next rows are expected to hold.

    With probabilities: their sum, after ``corrected`` by the rows that were reviewed. Without: Laplace's rule of
    succession on the last ``NEXT`` reviewed rows, (wrong + 1) / (rows + 2), because the wrong rows come first.

    Args:
        probability: of each row to be wrong, calibrated; None if it is unknown.
        reviewed: rows that were decided to be wrong or right, in the order of the decisions.
        wrong: whether each of them was wrong.
        left: the rows without a decision, in the order in which they will be reviewed.
    """
    coming, found = left[:NEXT], sum(wrong)
    if probability is None:
        latest = wrong[-NEXT:]
        share = (sum(latest) + 1) / (len(latest) + 2)
        return Outlook(len(wrong), found, len(coming), share * len(coming) if wrong else None, None)
    at = np.array(reviewed, dtype=np.int64)
    now = corrected(probability, probability[at], np.array(wrong, dtype=bool))
    return Outlook(len(wrong), found, len(coming), float(now[coming].sum()), float(now[left].sum()))


def corrected(
    probability: Float64[np.ndarray, " n"], of_reviewed: Float64[np.ndarray, " m"], wrong: Bool[np.ndarray, " m"]
) -> Float64[np.ndarray, " n"]:
    """Probabilities after a review of some rows: all odds are multiplied by one factor.

    logit p' = b + logit p, with the b that maximises Σ log p'(wrong) − (b / SPREAD)² / 2: a normal prior around no
    change. Without reviewed rows p' = p; with many of them p' is right on average. A row that was found right lowers
    all, a wrong one raises all, and their order stays.

    Args:
        probability: the probabilities to correct.
        of_reviewed: those of the reviewed rows.
        wrong: whether these were wrong.
    """
    odds, found = _logit(of_reviewed), float(wrong.sum())

    def slope(shift: float) -> float:
        return found - float(expit(shift + odds).sum()) - shift / SPREAD**2

    # The slope falls everywhere and has changed its sign at these ends, so there is one root between them.
    farthest = (len(wrong) + 1) * SPREAD**2
    return expit(brentq(slope, -farthest, farthest) + _logit(probability)) if len(wrong) else probability


def _logit(probability: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return logit(probability.clip(_CERTAIN, 1 - _CERTAIN))
