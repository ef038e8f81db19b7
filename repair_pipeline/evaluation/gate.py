"""The gate: a repair is accepted if it beats its controls on unseen rows without breaking correct rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64, Shaped
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings
from scipy.stats import binom

from repair_pipeline.datasets.labels import members
from repair_pipeline.evaluation.interval import (
    CONFIDENCE,
    POWER,
    Difference,
    Part,
    difference,
    difference_as_they_are,
)
from repair_pipeline.evaluation.margins import LEVELS, Level, least_broken, margin, most_broken

FEWEST_ROWS = 20
"""Remaining rows per class below which a class causes rejection only if its loss is proven."""
FEWEST_HELD_OUT = 10
"""Held-out failures below which no repair is accepted: with very few, chance results have a degenerate bootstrap."""
WORTH_HAVING = 0.1
"""The smallest gain over the controls that is worth having: as if this share of the failures were fixed."""
_LEVEL = 1 - CONFIDENCE
_INTERVAL = (_LEVEL, CONFIDENCE)


PROVEN = ("accepted", "recommended")
"""Verdicts that allow changes of the data."""
Decision = Literal["accepted", "recommended", "rejected", "not_proven", "not_a_data_problem"]


@settings(frozen=True, config=ConfigDict(extra="forbid"))
class Gate:
    """What a repair must prove before it may replace the model."""

    level: Level = "standard"
    """How much a repair may lose (``evaluation/margins.py``)."""
    bound: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The margin on remaining rows: the share that breaks must be shown to be below it. None: by ``level``."""
    class_bound: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The share of the remaining rows of one class that may break. None: by ``level``."""
    controls: Annotated[int, Field(ge=3)] = 5
    """Number of control repairs, which remove as many random rows, and of repairs that they are compared with."""
    promotion: Literal["manual", "automatic"] = "manual"
    """Whether an accepted model becomes the champion automatically."""

    def margin(self, failure_share: float, remaining: int) -> float:
        """The share of remaining rows that a repair must be shown to break less of; see ``margins.margin``."""
        return margin(self.level, failure_share, remaining) if self.bound is None else self.bound

    def class_margin(self, failure_share: float, remaining: int) -> float:
        """The share of one class's remaining rows that may break."""
        if self.class_bound is not None:
            return self.class_bound
        return min(max(LEVELS[self.level].of_class, 2 * self.margin(failure_share, remaining)), 0.99)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Which unseen rows are correct after a repair. The base model fails on all holdout rows and no remaining row."""

    repaired_holdout: Bool[np.ndarray, " h"]
    """Of the model that is judged and may be deployed."""
    repaired_remaining: Bool[np.ndarray, " r"]
    repairs_holdout: Bool[np.ndarray, "k h"]
    """One row for each seed of the repair. The judged model is one of them unless it was chosen among others."""
    repairs_remaining: Bool[np.ndarray, "k r"]
    controls_holdout: Bool[np.ndarray, "s h"]
    """One row for each control."""
    controls_remaining: Bool[np.ndarray, "s r"]
    remaining_labels: Shaped[np.ndarray, "r *l"]
    """Class numbers, or numbers, whose quarters by size are the classes."""
    share: float
    """The share of failures among the test rows: the natural mix."""
    removed: int | None
    """Number of training rows that the repair removed; None for a model made elsewhere: the controls remove none."""
    controls_repair: bool = False
    """Whether the controls repair those of their random rows that are wrong, as new labels for them do.

    Then equal gains do not show that the data are right.
    """
    reused: int = 0
    """The number of earlier repairs that were judged on this holdout."""
    as_they_are: bool = False
    """Whether two models are compared as they are: the only control is the model that the other is to replace."""


@dataclass(frozen=True)
class Verdict:
    """The decision, and the numbers behind it. Intervals are 95%; changes are shares of rows."""

    verdict: Decision
    reason: str
    """The decisive numbers, in sentences."""
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
    """Accuracy on unseen rows, at the natural mix: the mean of the repair's seeds minus that of the controls."""
    over_control_low: float
    over_control_high: float
    detectable: float
    """The gain over the controls that would have been proven with a probability of 0.8."""
    failures_needed: int | None
    """Held-out failures that would prove ``over_control`` with that probability; None if no number would."""
    remaining_change: float
    """Accuracy on remaining minus the base model's; at most 0."""
    remaining_low: float
    margin: float
    """The share of remaining rows that the repair must be shown to break less of."""
    worst_class: str | None
    """The class that loses the largest share of its remaining rows; None if no class is judged."""
    worst_class_change: float | None
    class_margin: float
    unjudged: tuple[str, ...]
    """Classes with fewer than ``FEWEST_ROWS`` remaining rows."""


def judge(
    gate: Gate, groups: Sequence[Outcomes], classes: Sequence[str], rng: np.random.Generator, resamples: int = 10_000
) -> list[Verdict]:
    """Accept, reject, or say what cannot be told. The result does not depend on the order of rows.

    In this order:

    - ``rejected``: harm is shown. ``gain_high`` < 0; or the share of remaining rows that break is shown to be at least
      ``margin``; or that of a class at least ``class_margin``, corrected for the number of classes (Holm 1979).
    - ``not_a_data_problem``: no gain over the controls is proven, and ``over_control_high`` is below ``WORTH_HAVING``
      times the share of failures: the repair is shown to gain no more than the removal of random rows. For a model made
      elsewhere it is ``not_proven``.
    - ``not_proven``: it cannot be told whether the repair gains more than its controls (corrected for the number of
      failure groups by Holm), or more than nothing, or breaks less than ``margin``; or a class lost ``class_margin``,
      perhaps by chance; or nothing was removed.
    - ``recommended``: all is shown, but earlier repairs were judged on this holdout, or it is too small.
    - ``accepted``: all is shown.

    Of two models that are compared as they are, the advantage over the old one takes the place of that over controls.

    The gain is bootstrapped over rows, separately for holdout and remaining; ``over_control`` has the interval of
    ``difference``, over other rows and other seeds. ``remaining_low`` is the Clopper-Pearson bound.

    Args:
        gate: what must be proven.
        groups: for each failure group, which rows are correct after the repair and after the controls.
        classes: class names.
        rng: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        The verdict of each group.

    Raises:
        ValueError: there are fewer controls than the gate requires, or no holdout or remaining rows.
    """
    compared = [_over_control(gate, outcomes) for outcomes in groups]
    adjusted = holm([each.p_value for each in compared])
    return [
        _judged(gate, outcomes, over, proven <= _LEVEL, len(groups), classes, rng, resamples)
        for outcomes, over, proven in zip(groups, compared, adjusted, strict=True)
    ]


def expected_detectable(gate: Gate, failure_share: float, holdout: int, remaining: int) -> float:
    """The gain over the controls that is likely to be proven with a probability of 0.8, before anything is made.

    Assumes spreads as in the simulations (``docs/results/gate.md``): seeds fix a share of failures that varies by 0.08,
    single failures vary as much as they can, and one remaining row in a hundred changes.

    Args:
        gate: gives the numbers of seeds.
        failure_share: the share of failures among the test rows.
        holdout: number of holdout rows.
        remaining: number of remaining rows.
    """
    seeds = 2 * (failure_share * 0.08) ** 2 / gate.controls
    rows = (failure_share**2 * 0.25 / holdout, (1 - failure_share) ** 2 * 0.01 / remaining)
    return Difference(0.0, seeds, rows, by_both=0.0, freedom=2 * gate.controls - 2).detectable


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, so that the probability of any false rejection is bounded (Holm 1979)."""
    adjusted, highest = list(p_values), 0.0
    for place, at in enumerate(sorted(range(len(adjusted)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, p_values[at] * (len(adjusted) - place)))
        adjusted[at] = highest
    return adjusted


def _over_control(gate: Gate, outcomes: Outcomes) -> Difference:
    holdout, remaining = len(outcomes.repaired_holdout), len(outcomes.repaired_remaining)
    if len(outcomes.controls_holdout) < gate.controls and not outcomes.as_they_are:
        raise ValueError(f"{len(outcomes.controls_holdout)} controls were run, but the gate needs {gate.controls}")
    if not holdout or not remaining:
        raise ValueError(f"{holdout} holdout and {remaining} remaining rows: the gate needs rows of both")
    parts = (
        (outcomes.share, outcomes.repairs_holdout, outcomes.controls_holdout),
        (1 - outcomes.share, outcomes.repairs_remaining, outcomes.controls_remaining),
    )
    compare = difference_as_they_are if outcomes.as_they_are else difference
    return compare([Part(share, repairs.astype(float), controls.astype(float)) for share, repairs, controls in parts])


def _judged(
    gate: Gate,
    outcomes: Outcomes,
    over: Difference,
    beats: bool,
    groups: int,
    classes: Sequence[str],
    rng: np.random.Generator,
    resamples: int,
) -> Verdict:
    repaired, kept, share = outcomes.repaired_holdout, outcomes.repaired_remaining, outcomes.share
    fixed, broken = int(repaired.sum()), int((~kept).sum())
    gain_low, gain_high = _interval(
        share * _resampled(fixed, len(repaired), rng, resamples)
        - (1 - share) * _resampled(broken, len(kept), rng, resamples)
    )
    class_margin = gate.class_margin(share, len(kept))
    lost, shown, unjudged = _by_class(outcomes, classes, class_margin)
    worst = max(lost, key=lambda name: lost[name], default=None)
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
        over_control=over.value,
        over_control_low=over.interval[0],
        over_control_high=over.interval[1],
        detectable=over.detectable,
        failures_needed=over.rows_needed(0, len(repaired)),
        remaining_change=-broken / len(kept),
        # Exact, because the bootstrap interval for no broken rows is [0, 0] even with very few rows.
        remaining_low=-most_broken(broken, len(kept)),
        margin=gate.margin(share, len(kept)),
        worst_class=worst,
        worst_class_change=None if worst is None else -lost[worst],
        class_margin=class_margin,
        unjudged=unjudged,
    )
    verdict, reason = _decision(outcomes, measured, beats, groups, shown)
    return replace(measured, verdict=verdict, reason=reason)


def _decision(
    outcomes: Outcomes, measured: Verdict, beats: bool, groups: int, lost_classes: Sequence[str]
) -> tuple[Decision, str]:
    if outcomes.removed == 0:
        return "not_proven", "No training row was found to remove, so there is no repair to judge."
    failures, rows = len(outcomes.repaired_holdout), len(outcomes.repaired_remaining)
    subject = "The model" if outcomes.removed is None else f"Removing {outcomes.removed} training rows"
    gain = f"{measured.gain:+.4f} [{measured.gain_low:+.4f}, {measured.gain_high:+.4f}]"
    repairs = (
        f"{subject} fixes {measured.fixed} of {failures} held-out failures and breaks {measured.broken} of {rows} "
        f"remaining rows: {gain} accuracy on unseen rows"
    )
    harm = _harm(measured, rows, lost_classes)
    if harm:
        return "rejected", f"{repairs}. {' '.join(harm)}"
    seeds, controls = len(outcomes.repairs_holdout), len(outcomes.controls_holdout)
    removal = "as many random rows" if outcomes.removed is not None else "nothing"
    advantage = f"{measured.over_control:+.4f} [{measured.over_control_low:+.4f}, {measured.over_control_high:+.4f}]"
    against = f"{seeds} such repairs gain {advantage}" if seeds > 1 else f"it gains {advantage}"
    compared = f"{against} over {controls} controls that remove {removal}"
    worth = WORTH_HAVING * outcomes.share
    shows = outcomes.removed is not None and not outcomes.controls_repair
    if shows and not beats and measured.over_control_high < worth:
        small = f"less than {worth:.4f}, the smallest gain worth having: a tenth of the failures"
        return "not_a_data_problem", f"{repairs}. But {compared}, {small}."
    doubts = _doubts(outcomes, measured, beats, groups, compared)
    if doubts:
        return "not_proven", f"{repairs}. {' '.join(doubts)}"
    summary = f"{repairs}." if outcomes.as_they_are else f"{repairs}. {compared[0].upper()}{compared[1:]}."
    again = "compare the models" if outcomes.as_they_are else "judge the repair"
    if outcomes.reused:
        times = "once" if outcomes.reused == 1 else f"{outcomes.reused} times"
        return (
            "recommended",
            f"{summary} But the holdout was reused {times}: {again} on new failures.",
        )
    if failures < FEWEST_HELD_OUT:
        return "recommended", f"{summary} But {failures} held-out failures are too few: {again} on more."
    return "accepted", summary


def _harm(measured: Verdict, rows: int, lost_classes: Sequence[str]) -> list[str]:
    """The ways in which the repair is shown to do harm."""
    harm = []
    if measured.gain_high < 0:
        harm.append("It breaks more than it fixes.")
    if (least := least_broken(measured.broken, rows)) >= measured.margin:
        harm.append(f"At least {least:.4f} of the rows that were right break; the margin is {measured.margin:g}.")
    if lost_classes:
        harm.append(f"More than {measured.class_margin:g} of a class is lost: {', '.join(lost_classes)}.")
    return harm


def _doubts(outcomes: Outcomes, measured: Verdict, beats: bool, groups: int, compared: str) -> list[str]:
    """What cannot be told, and what would settle it."""
    doubts = []
    corrected = f" (corrected for {groups} failure groups)" if groups > 1 else ""
    if outcomes.as_they_are and not (beats and measured.gain_low > 0):
        doubts.append(f"Whether it is better than the old model cannot be told{corrected}.")
        doubts.append(_power(measured, "", "give more test rows"))
    elif not beats:
        doubts.append(f"Whether that is better than random removal cannot be told{corrected}: {compared}.")
        if outcomes.controls_repair:
            doubts.append("The controls give their random rows other labels, so they repair wrong ones among them too.")
        doubts.append(_power(measured, " over the controls", "run more controls (gate.controls)"))
    if measured.gain_low <= 0 and not outcomes.as_they_are:
        doubts.append("Whether it fixes more than it breaks cannot be told.")
    if -measured.remaining_low >= measured.margin:
        doubts.append(
            f"Up to {-measured.remaining_low:.4f} of the rows that were right may break; the margin is "
            f"{measured.margin:g}."
        )
    lost = -(measured.worst_class_change or 0.0)
    if lost >= measured.class_margin:
        doubts.append(
            f"Class {measured.worst_class} loses {lost:.3f} of its remaining rows, perhaps by chance; the margin is "
            f"{measured.class_margin:g}."
        )
    return doubts


def _power(measured: Verdict, over: str, more: str) -> str:
    seen = f"A gain of {measured.detectable:.4f}{over} would be proven {POWER:.0%} of the time"
    if measured.over_control <= 0:
        return f"{seen}."
    if measured.failures_needed is None:
        return f"{seen}. More failures alone would not settle this gain: {more}."
    if measured.failures_needed > measured.holdout:
        return f"{seen}, and this one with about {measured.failures_needed} held-out failures."
    return f"{seen}."


def _interval(values: Float64[np.ndarray, " b"]) -> tuple[float, float]:
    low, high = np.quantile(values, _INTERVAL)
    return float(low), float(high)


def _resampled(count: int, rows: int, rng: np.random.Generator, resamples: int) -> Float64[np.ndarray, " b"]:
    """The bootstrap distribution of the share ``count`` / ``rows``, as a binomial: rows are exchangeable."""
    return rng.binomial(rows, count / rows, resamples) / rows


def _by_class(
    outcomes: Outcomes, classes: Sequence[str], bound: float
) -> tuple[dict[str, float], list[str], tuple[str, ...]]:
    """What each class loses.

    Returns:
        The share of the remaining rows that each class with enough of them loses; a description of each class whose
        loss is shown to be at least ``bound``, by binomial tests corrected for their number; and the names of the
        classes with too few rows.
    """
    counts = {
        name: (int((~kept).sum()), len(kept))
        for name, mask in members(torch.from_numpy(outcomes.remaining_labels), tuple(classes)).items()
        for kept in [outcomes.repaired_remaining[mask.numpy()]]
    }
    p_values = holm([float(binom.sf(broken - 1, rows, bound)) for broken, rows in counts.values()])
    shown = [
        f"{broken} of {rows} of class {name} break"
        for (name, (broken, rows)), p_value in zip(counts.items(), p_values, strict=True)
        if p_value <= _LEVEL
    ]
    lost = {name: broken / rows for name, (broken, rows) in counts.items() if rows >= FEWEST_ROWS}
    return lost, shown, tuple(name for name, (_, rows) in counts.items() if rows < FEWEST_ROWS)
