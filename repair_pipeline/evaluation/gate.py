"""The gate: a repair is accepted if it beats chance and the controls without breaking correct rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, expm1, log
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings
from scipy.stats import beta, binom, binomtest

from repair_pipeline.evaluation.interval import CONFIDENCE, half_width

FEWEST_ROWS = 20
"""Remaining rows per class below which a class causes rejection only if its loss is proven."""
FEWEST_HELD_OUT = 10
"""Held-out failures below which no repair is accepted: with very few, chance results have a degenerate bootstrap."""
_INTERVAL = (1 - CONFIDENCE, CONFIDENCE)


PROVEN = ("accepted", "recommended")
"""Verdicts that allow changes of the data."""
Decision = Literal["accepted", "recommended", "rejected", "not_proven", "not_a_data_problem"]


@settings(frozen=True, config=ConfigDict(extra="forbid"))
class Gate:
    """What a repair must prove before it may replace the model."""

    bound: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Upper bound on the share of remaining rows that break, at 97.5% confidence. Proving 0.02 takes 183 rows."""
    class_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The same for the remaining rows of each class."""
    controls: Annotated[int, Field(ge=3)] = 3
    """Number of control repairs, which remove as many random rows, each with its own seed."""
    promotion: Literal["manual", "automatic"] = "manual"
    """Whether an accepted model becomes the champion automatically."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which unseen rows are correct after a repair. The base model fails on all holdout rows and no remaining row."""

    repaired_holdout: Bool[np.ndarray, " h"]
    controls_holdout: Bool[np.ndarray, "s h"]
    """One row for each control."""
    repaired_remaining: Bool[np.ndarray, " r"]
    remaining_labels: Int64[np.ndarray, " r"]
    share: float
    """The share of failures among the test rows: the natural mix."""
    removed: int | None
    """Number of training rows that the repair removed; None for a model made elsewhere: the controls remove none."""
    reused: int = 0
    """The number of earlier repairs that were judged on this holdout."""


@dataclass(frozen=True)
class Verdict:
    """The decision, and the numbers behind it. Intervals are 95%; changes are shares of rows."""

    verdict: Decision
    reason: str
    """A sentence with the decisive numbers."""
    holdout: int
    """Number of holdout rows judged on."""
    reused: int
    """The number of earlier repairs that were judged on this holdout."""
    fixed: int
    """Number of holdout rows that became right."""
    broken: int
    """Number of remaining rows that became wrong."""
    gain: float
    """Accuracy on unseen rows, at the test set's natural mix, minus the base model's."""
    gain_low: float
    gain_high: float
    over_control: float
    """Holdout accuracy minus the mean of the controls'."""
    over_control_low: float
    over_control_high: float
    remaining_change: float
    """Accuracy on remaining minus the base model's; at most 0."""
    remaining_low: float
    worst_class: str | None
    """The class with the lowest lower bound; None if no class is judged."""
    worst_class_low: float | None
    unjudged: tuple[str, ...]
    """Classes with fewer than ``FEWEST_ROWS`` remaining rows."""


def judge(
    gate: Gate, outcomes: Outcomes, classes: Sequence[str], rng: np.random.Generator, resamples: int = 10_000
) -> Verdict:
    """Accept, reject, or conclude that the data are not the cause. The result does not depend on the order of rows.

    - ``not_a_data_problem``: nothing was removed, or a control, which removes as many random rows, fixes as many
      holdout rows. If it is unknown what was removed, the verdict is ``not_proven`` instead.
    - ``not_proven``: the repair fixes more than each control, but perhaps by chance: ``over_control_low`` ≤ 0.
    - ``rejected``: ``gain_low`` ≤ 0; or ``remaining_low`` ≤ −``bound``; or a class's lower bound ≤ −``class_bound``; or
      for a class with too few rows, the loss is proven to be at least ``class_bound``.
    - ``recommended``: all conditions hold, but earlier repairs were judged on this holdout, or it is too small.
    - ``accepted``: all conditions hold.

    The gain is bootstrapped over rows, separately for holdout and remaining; ``over_control`` has a t interval that
    covers other rows and other seeds. ``remaining_low`` is the Clopper-Pearson bound, a class's lower bound the
    bootstrap's.

    Args:
        gate: the bounds.
        outcomes: which rows are correct after the repair and after the controls.
        classes: class names.
        rng: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: there are fewer controls than the gate requires, or no holdout or remaining rows.
    """
    repaired, kept, share = outcomes.repaired_holdout, outcomes.repaired_remaining, outcomes.share
    if len(outcomes.controls_holdout) < gate.controls:
        raise ValueError(f"{len(outcomes.controls_holdout)} controls were run, but the gate needs {gate.controls}")
    if not len(repaired) or not len(kept):
        raise ValueError(f"{len(repaired)} holdout and {len(kept)} remaining rows: the gate needs rows of both")

    fixed, broken = int(repaired.sum()), int((~kept).sum())
    gain_low, gain_high = _interval(
        share * _resampled(fixed, len(repaired), rng, resamples)
        - (1 - share) * _resampled(broken, len(kept), rng, resamples)
    )
    over, half = _over_control(repaired, outcomes.controls_holdout)
    # Exact, because the bootstrap interval for no broken rows is [0, 0] even with very few rows.
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
    verdict, reason = _decision(gate, outcomes, measured, lost)
    return replace(measured, verdict=verdict, reason=reason)


def _decision(gate: Gate, outcomes: Outcomes, measured: Verdict, lost_class: str | None) -> tuple[Decision, str]:
    if outcomes.removed == 0:
        return "not_a_data_problem", "No training row was removed, so there is no repair to judge."
    failures, rows = len(outcomes.repaired_holdout), len(outcomes.repaired_remaining)
    subject = "The model" if outcomes.removed is None else f"Removing {outcomes.removed} training rows"
    repairs = f"{subject} fixes {measured.fixed} of {failures} held-out failures"
    advantage = f"{measured.over_control:+.3f} [{measured.over_control_low:+.3f}, {measured.over_control_high:+.3f}]"
    removal = "that remove as many random rows" if outcomes.removed is not None else "that remove nothing"
    controls = f"{len(outcomes.controls_holdout)} repairs {removal}"
    best = int(outcomes.controls_holdout.sum(axis=1).max())
    if measured.fixed <= best:
        decision: Decision = "not_proven" if outcomes.removed is None else "not_a_data_problem"
        return decision, f"{repairs}: the best of {controls} fixes {best}."
    if measured.over_control_low <= 0:
        return "not_proven", f"{repairs}, but it is not proven that this is more than {controls} fix, {advantage}."
    breaks = f"breaks {measured.broken} of {rows} remaining rows"
    gain = f"{measured.gain:+.4f} [{measured.gain_low:+.4f}, {measured.gain_high:+.4f}]"
    if measured.gain_low <= 0:
        return "rejected", f"{repairs} and {breaks}: a gain in accuracy on unseen rows is not proven, {gain}."
    if measured.remaining_low <= -gate.bound:
        lost = f"the share of such rows that may break is up to {-measured.remaining_low:.4f}"
        return "rejected", f"{repairs} and {breaks}, but {lost}, and the bound is {gate.bound}."
    if measured.worst_class_low is not None and measured.worst_class_low <= -gate.class_bound:
        lost = f"up to {-measured.worst_class_low:.3f} of class {measured.worst_class} may break"
        return "rejected", f"{repairs} and {breaks}, but {lost}, and the bound for a class is {gate.class_bound}."
    if lost_class is not None:
        return "rejected", f"{repairs} and {breaks}, but {lost_class}, and the bound for a class is {gate.class_bound}."
    summary = f"{repairs}, {advantage} over {controls}, and {breaks}: accuracy on unseen rows changes by {gain}."
    if outcomes.reused:
        times = "once" if outcomes.reused == 1 else f"{outcomes.reused} times"
        return (
            "recommended",
            f"{summary} But the holdout was reused {times}: judge the repair on new failures.",
        )
    if failures < FEWEST_HELD_OUT:
        return "recommended", f"{summary} But {failures} held-out failures are too few: judge the repair on more."
    return "accepted", summary


def _interval(values: Float64[np.ndarray, " b"]) -> tuple[float, float]:
    low, high = np.quantile(values, _INTERVAL)
    return float(low), float(high)


def _resampled(count: int, rows: int, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " b"]:
    """The bootstrap distribution of the share ``count`` / ``rows``, as a binomial: rows are exchangeable."""
    return rng.binomial(rows, count / rows, resamples) / rows


def _over_control(repaired: Bool[np.ndarray, " h"], controls: Bool[np.ndarray, "s h"]) -> tuple[float, float]:
    """The repair's holdout accuracy minus the controls' mean, and half of its 95% interval.

    The interval covers other rows and other seeds. If the repair were a further control, the difference between it and
    the mean of the s controls would have the variance σ² (1 + 1/s) due to seeds, with σ² the variance between controls;
    sampling h rows adds the variance of the mean of the row-wise differences. The degrees of freedom are those of
    Satterthwaite (1946). The seeds' effect on single rows is in both terms, so the interval is slightly too wide.
    """
    seeds, rows = controls.shape
    difference = np.sort(repaired - controls.mean(axis=0))  # so that rounding does not depend on the order of rows
    over = float(difference.mean())
    by_seed = controls.mean(axis=1).var(ddof=1) * (1 + 1 / seeds)
    if rows < 2:
        return over, 1.0  # one row gives no estimate of the variance between rows
    by_row = difference.var(ddof=1) / rows
    return over, half_width([(by_seed, seeds - 1), (by_row, rows - 1)])


def rows_to_prove(bound: float) -> int:
    """The number of remaining rows, none of them broken, that proves a bound by Clopper-Pearson at 97.5%."""
    return ceil(log(_INTERVAL[0]) / log(1 - bound))


def provable_loss(rows: int) -> float:
    """The least loss that this many remaining rows can rule out, if none breaks: the inverse of ``rows_to_prove``."""
    return -expm1(log(_INTERVAL[0]) / rows) if rows else 1.0


def breakable(bound: float, rows: int) -> int | None:
    """The most remaining rows that may break while Clopper-Pearson at 97.5% proves a loss below ``bound``.

    Args:
        bound: the gate's bound, a share of rows.
        rows: number of remaining rows.

    Returns:
        The number; None if the bound is not even proven by no broken row.
    """
    broken = np.arange(rows)
    proven = int((beta.ppf(_INTERVAL[1], broken + 1, rows - broken) < bound).sum())  # the limit rises with the broken
    return proven - 1 if proven else None


def _by_class(
    gate: Gate, outcomes: Outcomes, classes: Sequence[str]
) -> tuple[dict[str, float], str | None, tuple[str, ...]]:
    """The per-class bounds.

    The lower bounds are the limit of the bootstrap with infinitely many resamples: a quantile of the binomial. The
    exact interval for 0 broken rows of 20 extends to 0.17 and would reject every repair for its smallest class. The
    risk that 0 broken rows hide a loss is limited by ``FEWEST_ROWS``: if a tenth of a class breaks, 20 rows show none
    of it in 12% of cases.

    Returns:
        The lower bound of the change on each judged class's remaining rows; a description of a proven loss in a class
        with too few rows, if there is one; and the names of the classes with too few rows.
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
