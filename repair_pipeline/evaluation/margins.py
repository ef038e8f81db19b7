"""How much a repair may lose: rules that depend on the test set and never on the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, expm1, log
from typing import Literal

import numpy as np
from scipy.stats import beta, binom

from repair_pipeline.evaluation.interval import CONFIDENCE, POWER

Level = Literal["strict", "standard", "exploratory"]


@dataclass(frozen=True)
class Strictness:
    """What a level of strictness tolerates. The margin on remaining rows is the largest of three."""

    least: float
    """A share of the remaining rows that is always tolerated."""
    of_failures: float
    """The loss may cancel this share of what fixing all failures would gain."""
    broken: float
    """A repair that truly breaks this share of the remaining rows is let through four times in five …"""
    most_by_rows: float
    """… as long as this takes no larger margin than this, however few rows there are."""
    of_class: float
    """The margin on the remaining rows of one class, or twice the margin on all if that is larger."""


LEVELS: Mapping[Level, Strictness] = {
    "strict": Strictness(least=0.02, of_failures=0.0, broken=0.0, most_by_rows=0.0, of_class=0.1),
    "standard": Strictness(least=0.02, of_failures=0.2, broken=0.01, most_by_rows=0.05, of_class=0.1),
    "exploratory": Strictness(least=0.05, of_failures=0.5, broken=0.02, most_by_rows=0.1, of_class=0.2),
}


def margin(level: Level, failure_share: float, remaining: int) -> float:
    """The share of remaining rows that a repair must be shown to break less of.

    Args:
        level: of strictness.
        failure_share: the share of failures among the test rows.
        remaining: number of remaining rows.
    """
    rule = LEVELS[level]
    of_failures = rule.of_failures * failure_share / max(1 - failure_share, 1e-12)
    by_rows = most_broken(int(binom.ppf(POWER, remaining, rule.broken)), remaining) if rule.broken else 0.0
    # Rounded up to four digits, so that the number that is shown is the one that is meant.
    return ceil(1e4 * min(max(rule.least, of_failures, min(by_rows, rule.most_by_rows)), 0.99) - 1e-9) / 1e4


def most_broken(broken: int, rows: int) -> float:
    """The upper end of the 95% interval of Clopper and Pearson for the share of rows that break."""
    return float(beta.ppf(CONFIDENCE, broken + 1, rows - broken)) if broken < rows else 1.0


def least_broken(broken: int, rows: int) -> float:
    """The lower end of that interval."""
    return float(beta.ppf(1 - CONFIDENCE, broken, rows - broken + 1)) if broken else 0.0


def rows_to_prove(bound: float) -> int:
    """The number of remaining rows, none of them broken, that proves a bound by Clopper-Pearson at 97.5%."""
    return ceil(log(1 - CONFIDENCE) / log(1 - bound))


def provable_loss(rows: int) -> float:
    """The least loss that this many remaining rows can rule out, if none breaks: the inverse of ``rows_to_prove``."""
    return -expm1(log(1 - CONFIDENCE) / rows) if rows else 1.0


def breakable(bound: float, rows: int) -> int | None:
    """The most remaining rows that may break while Clopper-Pearson at 97.5% proves a loss below ``bound``.

    Args:
        bound: the margin, a share of rows.
        rows: number of remaining rows.

    Returns:
        The number; None if the bound is not even proven by no broken row.
    """
    broken = np.arange(rows)
    proven = int((beta.ppf(CONFIDENCE, broken + 1, rows - broken) < bound).sum())  # the limit rises with the broken
    return proven - 1 if proven else None
