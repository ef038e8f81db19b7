"""The verdict on a data patch: is the next training better with it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool

from repair_pipeline.evaluation.gate import PROVEN
from repair_pipeline.evaluation.interval import Part, difference


@dataclass(frozen=True, eq=False)
class Trainings:
    """Which unseen rows are right after k trainings each on the data as they are and on the patched data.

    The i-th of both have the same seed.
    """

    as_is_holdout: Bool[np.ndarray, "k h"]
    as_is_remaining: Bool[np.ndarray, "k r"]
    patched_holdout: Bool[np.ndarray, "k h"]
    patched_remaining: Bool[np.ndarray, "k r"]
    share: float
    """The share of failures of the base model among the test rows: the natural mix."""


@dataclass(frozen=True)
class PatchVerdict:
    """The accuracy of the next training on unseen rows at the natural mix, and the patch's effect on it."""

    verdict: Literal["better", "worse", "not_proven"]
    reason: str
    """A sentence with the decisive numbers."""
    trainings: int
    """Trainings on each of the two data sets."""
    as_is: float
    patched: float
    difference: float
    difference_low: float
    """Lower end of the 95% interval, over other rows and other seeds."""
    difference_high: float


def judge_patch(outcomes: Trainings) -> PatchVerdict:
    """``better`` if the interval of the difference lies above 0, ``worse`` if below, else ``not_proven``.

    The difference is the mean over seeds of patched minus as-is accuracy, with the interval of ``difference`` for
    paired seeds.

    Raises:
        ValueError: there is one training, or no row of holdout or remaining.
    """
    share = outcomes.share
    seeds = len(outcomes.patched_holdout)
    holdout = outcomes.patched_holdout.astype(float) - outcomes.as_is_holdout
    remaining = outcomes.patched_remaining.astype(float) - outcomes.as_is_remaining
    found = difference([Part(share, holdout), Part(1 - share, remaining)])
    low, high = found.interval

    def accuracy(holdout: Bool[np.ndarray, "k h"], remaining: Bool[np.ndarray, "k r"]) -> float:
        return float(share * holdout.mean() + (1 - share) * remaining.mean())

    as_is = accuracy(outcomes.as_is_holdout, outcomes.as_is_remaining)
    patched = accuracy(outcomes.patched_holdout, outcomes.patched_remaining)
    change = f"changes accuracy on unseen rows from {as_is:.3f} to {patched:.3f}"
    interval = f"{found.value:+.4f} [{low:+.4f}, {high:+.4f}]"
    proven = "" if low > 0 or high < 0 else "; it is not proven that this is a change"
    return PatchVerdict(
        verdict="better" if low > 0 else "worse" if high < 0 else "not_proven",
        reason=f"Training on the patched data {change}, {interval}, over {seeds} trainings on each{proven}.",
        trainings=seeds,
        as_is=as_is,
        patched=patched,
        difference=found.value,
        difference_low=low,
        difference_high=high,
    )


def proven_groups(verdicts: Iterable[Mapping[str, Any]], next_training: Mapping[str, Any] | None) -> set[str]:
    """The failure groups whose part of the patch is proven to help.

    The question of the patch is whether the next training is better, so where that is answered, the answer counts for
    the whole patch. Else the gate's verdicts count, which are about models without these rows.

    Args:
        verdicts: the gate's rows of ``verdicts``.
        next_training: the row of ``patch_verdicts``; None where the next training was not tried.
    """
    answer = next_training["verdict"] if next_training else "not_proven"
    if answer == "worse":
        return set()
    return {row["failure_group"] for row in verdicts if answer == "better" or row["verdict"] in PROVEN}
