"""Whether a repair is accepted: it beats chance and the controls, and nothing healthy is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings
from scipy.stats import binom, binomtest, t

FEWEST_ROWS = 20
"""Of a class among the remaining rows, below which it is rejected for a proven loss only."""
FEWEST_HELD_OUT = 10
"""Failures below which no repair is accepted: one that chance fixes would pass, as resampling it says 1 to 1."""
_INTERVAL = (0.025, 0.975)


PROVEN = ("accepted", "recommended")
"""Verdicts on which the data may be changed."""
Decision = Literal["accepted", "recommended", "rejected", "not_proven", "not_a_data_problem"]


@settings(frozen=True, config=ConfigDict(extra="forbid"))
class Gate:
    """What a repair must show before it may take the model's place."""

    bound: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Of the remaining rows, the share that must not break, at 97.5% confidence. Proving 0.02 takes 183 rows."""
    class_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The same for the remaining rows of each class."""
    controls: Annotated[int, Field(ge=3)] = 3
    """Repairs that remove as many random rows, each from a seed of its own."""
    promotion: Literal["manual", "automatic"] = "manual"
    """Who makes an accepted model the champion."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which unseen rows are right after a repair. The base is wrong on all of holdout, right on all of remaining."""

    repaired_holdout: Bool[np.ndarray, " h"]
    controls_holdout: Bool[np.ndarray, "s h"]
    """A line for each control."""
    repaired_remaining: Bool[np.ndarray, " r"]
    remaining_labels: Int64[np.ndarray, " r"]
    share: float
    """Of failures among the test rows: the natural mix."""
    removed: int | None
    """Training rows that the repair removed; None for a model made elsewhere: the controls then remove nothing."""
    reused: int = 0
    """How many earlier repairs were judged on this holdout."""


@dataclass(frozen=True)
class Verdict:
    """What is decided, and the numbers it rests on. Intervals are 95%; changes are shares of rows."""

    verdict: Decision
    reason: str
    """A sentence with the numbers that decided."""
    holdout: int
    """Holdout rows that it is judged on."""
    reused: int
    fixed: int
    """Holdout rows that became right."""
    broken: int
    """Remaining rows that became wrong."""
    gain: float
    """Accuracy on unseen, at the test set's natural mix, less the base model's."""
    gain_low: float
    gain_high: float
    over_control: float
    """Holdout accuracy less the mean of the controls'."""
    over_control_low: float
    over_control_high: float
    remaining_change: float
    """Accuracy on remaining less the base model's: never above 0."""
    remaining_low: float
    worst_class: str | None
    """The class whose lower bound is lowest; None where none is judged."""
    worst_class_low: float | None
    unjudged: tuple[str, ...]
    """Classes with fewer than ``FEWEST_ROWS`` remaining rows."""


def judge(
    gate: Gate, outcomes: Outcomes, classes: Sequence[str], rng: np.random.Generator, resamples: int = 10_000
) -> Verdict:
    """Accept, reject, or say that the data is not to blame. The order of rows does not matter.

    - ``not_a_data_problem``: nothing was removed, or removing as many random rows repairs as much: one of the controls
      fixes as many holdout rows. Where it is not known what was removed, that is ``not_proven``.
    - ``not_proven``: the repair fixes more than each of them, which may be chance: ``over_control_low`` is not above 0.
    - ``rejected``: ``gain_low`` is not above 0, or ``remaining_low`` not above −``bound``, or a class's lower bound
      not above −``class_bound``; or a class with too few rows for that has lost more than it by its upper bound.
    - ``recommended``: all of that holds, on a holdout that earlier repairs were judged on, or that is too small.

    The gain is bootstrapped over rows, holdout and remaining apart; ``over_control`` has a t interval, for other rows
    and other seeds. ``remaining_low`` is Clopper and Pearson's, a class's lower bound the bootstrap's.

    Raises:
        ValueError: fewer controls than the gate asks for, or nothing to judge by.
    """
    repaired, kept, share = outcomes.repaired_holdout, outcomes.repaired_remaining, outcomes.share
    if len(outcomes.controls_holdout) < gate.controls:
        raise ValueError(f"{len(outcomes.controls_holdout)} controls were run, the gate asks for {gate.controls}")
    if not len(repaired) or not len(kept):
        raise ValueError(f"{len(repaired)} holdout and {len(kept)} remaining rows: a repair is judged on both")

    fixed, broken = int(repaired.sum()), int((~kept).sum())
    gain_low, gain_high = _interval(
        share * _resampled(fixed, len(repaired), rng, resamples)
        - (1 - share) * _resampled(broken, len(kept), rng, resamples)
    )
    over, half = _over_control(repaired, outcomes.controls_holdout)
    # Exact, as the bootstrap of no broken row among however few is 0 to 0, which proves nothing.
    breaks = binomtest(broken, len(kept)).proportion_ci(0.95, method="exact").high
    lows, lost, unjudged = _by_class(gate, outcomes, classes)
    worst = min(lows, key=lambda name: lows[name], default=None)
    measured = Verdict(
        verdict="accepted",
        reason="",
        holdout=len(repaired),
        reused=outcomes.reused,
        fixed=fixed,
        broken=broken,
        gain=share * fixed / len(repaired) - (1 - share) * broken / len(kept),
        gain_low=gain_low,
        gain_high=gain_high,
        over_control=over,
        over_control_low=max(over - half, -1.0),  # a difference of shares
        over_control_high=min(over + half, 1.0),
        remaining_change=-broken / len(kept),
        remaining_low=-float(breaks),
        worst_class=worst,
        worst_class_low=None if worst is None else lows[worst],
        unjudged=unjudged,
    )
    verdict, reason = _decided(gate, outcomes, measured, lost)
    return replace(measured, verdict=verdict, reason=reason)


def _decided(gate: Gate, outcomes: Outcomes, found: Verdict, lost_class: str | None) -> tuple[Decision, str]:
    if outcomes.removed == 0:
        return "not_a_data_problem", "No training row was removed, so there is no repair to judge."
    failures, rows = len(outcomes.repaired_holdout), len(outcomes.repaired_remaining)
    does = "The model" if outcomes.removed is None else f"Removing {outcomes.removed} training rows"
    repairs = f"{does} fixes {found.fixed} of {failures} held-out failures"
    compared = f"{found.over_control:+.3f} [{found.over_control_low:+.3f}, {found.over_control_high:+.3f}]"
    alike = "that remove as many random rows" if outcomes.removed is not None else "that remove nothing"
    controls = f"{len(outcomes.controls_holdout)} repairs {alike}"
    best = int(outcomes.controls_holdout.sum(axis=1).max())
    if found.fixed <= best:
        unmoved: Decision = "not_proven" if outcomes.removed is None else "not_a_data_problem"
        return unmoved, f"{repairs}: the best of {controls} fixes {best}."
    if found.over_control_low <= 0:
        return "not_proven", f"{repairs}: that it is more than {controls} fix is not proven, {compared}."
    breaks = f"breaks {found.broken} of {rows} remaining rows"
    gain = f"{found.gain:+.4f} [{found.gain_low:+.4f}, {found.gain_high:+.4f}]"
    if found.gain_low <= 0:
        return "rejected", f"{repairs} and {breaks}: a gain in accuracy on unseen rows is not proven, {gain}."
    if found.remaining_low <= -gate.bound:
        lost = (
            f"the share of such rows that may break is up to {-found.remaining_low:.4f}, and the bound is {gate.bound}"
        )
        return "rejected", f"{repairs} and {breaks}, but {lost}."
    if found.worst_class_low is not None and found.worst_class_low <= -gate.class_bound:
        lost = f"up to {-found.worst_class_low:.3f} of class {found.worst_class} may break"
        return "rejected", f"{repairs} and {breaks}, but {lost}, and the bound for a class is {gate.class_bound}."
    if lost_class is not None:
        return "rejected", f"{repairs} and {breaks}, but {lost_class}, and the bound for a class is {gate.class_bound}."
    says = f"{repairs}, {compared} over {controls}, and {breaks}: accuracy on unseen rows changes by {gain}."
    if outcomes.reused:
        times = "once" if outcomes.reused == 1 else f"{outcomes.reused} times"
        return (
            "recommended",
            f"{says} But the holdout was reused {times}: judge the repair on new failures.",
        )
    if failures < FEWEST_HELD_OUT:
        return "recommended", f"{says} But {failures} held-out failures are too few: judge the repair on more."
    return "accepted", says


def _interval(values: Float64[np.ndarray, " b"]) -> tuple[float, float]:
    low, high = np.quantile(values, _INTERVAL)
    return float(low), float(high)


def _resampled(count: int, rows: int, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " b"]:
    """The share of ``count`` among ``rows`` in each resample: rows that came out alike need not be told apart."""
    return rng.binomial(rows, count / rows, resamples) / rows


def _over_control(repaired: Bool[np.ndarray, " h"], controls: Bool[np.ndarray, "s h"]) -> tuple[float, float]:
    """The repair's holdout accuracy less the controls' mean, and half of its 95% interval.

    A difference over other rows and after other seeds is meant. Were the repair one of the s controls, its distance
    from their mean would have the variance s² (1 + 1/s) by its own seed and theirs; sampling h rows adds that of the
    mean of their differences. Degrees of freedom are Satterthwaite's (1946). What a seed changes row by row is in both
    terms, which makes the interval a little too wide.
    """
    seeds, rows = controls.shape
    difference = np.sort(repaired - controls.mean(axis=0))  # so that the rows' order does not show in rounding
    over = float(difference.mean())
    by_seed = controls.mean(axis=1).var(ddof=1) * (1 + 1 / seeds)
    if rows < 2:
        return over, 1.0  # one row says nothing of others
    by_row = difference.var(ddof=1) / rows
    variance = by_seed + by_row
    if variance == 0:
        return over, 0.0
    freedom = variance**2 / (by_seed**2 / (seeds - 1) + by_row**2 / (rows - 1))
    return over, float(t.ppf(_INTERVAL[1], freedom) * np.sqrt(variance))


def rows_to_prove(bound: float) -> int:
    """How many remaining rows, none of them broken, prove a bound: by Clopper and Pearson's upper limit at 97.5 %."""
    return ceil(log(_INTERVAL[0]) / log(1 - bound))


def _by_class(
    gate: Gate, outcomes: Outcomes, classes: Sequence[str]
) -> tuple[dict[str, float], str | None, tuple[str, ...]]:
    """Lower bounds of the change on each class's remaining rows, and of the classes with too few to judge a loss that
    is proven all the same, and their names.

    The bootstrap's with endless resamples: a quantile of the binomial. The exact interval of 0 broken rows of 20 goes
    on to 0.17 and would fail every repair for its smallest class. What 0 may hide is limited by ``FEWEST_ROWS``: where
    a tenth of a class breaks, 20 rows show none of it in 12% of cases.
    """
    lows, lost, unjudged = dict[str, float](), None, []
    for label, name in enumerate(classes):
        kept = outcomes.repaired_remaining[outcomes.remaining_labels == label]
        if len(kept) < FEWEST_ROWS:
            unjudged.append(name)
            broken = int((~kept).sum())
            if broken and binomtest(broken, len(kept)).proportion_ci(0.95, method="exact").low >= gate.class_bound:
                lost = lost or f"{broken} of {len(kept)} of class {name} break"
        else:
            lows[name] = -float(binom.ppf(_INTERVAL[1], len(kept), (~kept).mean())) / len(kept)
    return lows, lost, tuple(unjudged)
