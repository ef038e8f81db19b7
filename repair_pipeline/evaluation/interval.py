"""The difference between two training procedures, with an interval that covers other rows and other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Float64
from scipy.stats import t

CONFIDENCE = 0.975
"""Of each end of a 95% interval."""
POWER = 0.8
"""The probability with which a difference of the size ``Difference.detectable`` is found."""


@dataclass(frozen=True, eq=False)
class Part:
    """One kind of unseen rows, and what the models of both procedures get on them."""

    weight: float
    """The part's share in the natural mix."""
    treated: Float64[np.ndarray, "k n"]
    """One row for each seed: 1 where the model is right; or, for paired seeds, the difference between two models."""
    control: Float64[np.ndarray, "s n"] | None = None
    """The same of the procedure that it is compared with; None for paired seeds."""

    @property
    def groups(self) -> list[Float64[np.ndarray, "k n"]]:
        return [self.treated] if self.control is None else [self.treated, self.control]


@dataclass(frozen=True)
class Difference:
    """The mean of the treated minus that of the controls, at the natural mix."""

    value: float
    by_seed: float
    """Its variance because of other seeds."""
    by_row: tuple[float, ...]
    """Its variance because of other rows, of each part."""
    by_both: float
    """What both of these contain: the variance because a seed changes single rows."""
    freedom: float
    """Degrees of freedom of ``variance``, by Satterthwaite (1946)."""

    @property
    def variance(self) -> float:
        """Of ``value``: that of a crossed design of seeds and rows; never below that of seeds or of rows alone."""
        rows = sum(self.by_row)
        return max(self.by_seed, rows, self.by_seed + rows - self.by_both)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval, within −1 and 1; a point if nothing varies."""
        half = self._quantile(CONFIDENCE) * self.variance**0.5 if self.variance else 0.0
        return max(self.value - half, -1.0), min(self.value + half, 1.0)

    @property
    def p_value(self) -> float:
        """One-sided, that the true difference is at most 0."""
        if not self.variance:
            return 0.0 if self.value > 0 else 1.0
        return float(t.sf(self.value / self.variance**0.5, self.freedom))

    @property
    def detectable(self) -> float:
        """The true difference whose interval lies above 0 with the probability ``POWER``."""
        return self._factor * self.variance**0.5 if self.variance else 0.0

    def rows_needed(self, part: int, rows: int) -> int | None:
        """The number of rows of a part with which a difference of this size would be found 4 times in 5 (``POWER``).

        Args:
            part: its number.
            rows: the number of its rows now.

        Returns:
            None if no number is enough: there is no gain, or the seeds or the other part vary too much.
        """
        others = max(self.by_seed - self.by_both, 0.0) + sum(self.by_row) - self.by_row[part]
        left = (self.value / self._factor) ** 2 - others if self.value > 0 else 0.0
        return ceil(rows * self.by_row[part] / left) if left > 0 else None

    @property
    def _factor(self) -> float:
        return self._quantile(CONFIDENCE) + self._quantile(POWER)

    def _quantile(self, level: float) -> float:
        return float(t.ppf(level, self.freedom))


def difference(parts: Sequence[Part]) -> Difference:
    """The difference between two procedures, each run with several seeds and judged on the same rows.

    Rows and seeds are crossed, both drawn from larger populations. The variance is that of the analysis of variance
    with random effects: because of seeds, of rows, and of seeds changing single rows. Treated and controls share the
    variance between seeds, so that one seed of one of them is enough.

    Args:
        parts: the kinds of rows, all with the same numbers of seeds.

    Raises:
        ValueError: there is one seed of each or one paired seed, or a part without rows.
    """
    seeds = [len(group) for group in parts[0].groups]
    spread = sum(seeds) - len(seeds)
    if spread < 1 or any(part.treated.shape[1] < 1 for part in parts):
        raise ValueError(f"{seeds} seeds and {[part.treated.shape[1] for part in parts]} rows: no spread can be told")
    each = sum(1 / count for count in seeds)
    by_seed, by_row, by_both = list[Float64[np.ndarray, " k"]](), list[float](), 0.0
    for number in range(len(seeds)):
        by_seed.append(np.sum([part.weight * _row_mean(part.groups[number]) for part in parts], axis=0))
    for part in parts:
        by_row.append(_by_row(part))
        rows = part.treated.shape[1]
        if rows > 1:
            squares = sum(_interaction(group) for group in part.groups)
            by_both += part.weight**2 * squares / (spread * (rows - 1)) / rows * each
    values = [float(group.mean()) for group in by_seed]
    seed = sum(float(((group - group.mean()) ** 2).sum()) for group in by_seed) / spread * each
    variance = max(seed, sum(by_row), seed + sum(by_row) - by_both)
    return Difference(
        value=values[0] - sum(values[1:]),
        by_seed=seed,
        by_row=tuple(by_row),
        by_both=by_both,
        freedom=_freedom(variance, [(seed, spread), *_with_freedom(parts, by_row)]),
    )


def difference_as_they_are(parts: Sequence[Part]) -> Difference:
    """The difference between two models, judged on the same rows; the interval covers other rows, and no other seeds.

    Args:
        parts: the kinds of rows, with one treated model and one control.
    """
    by_row = [_by_row(part) for part in parts]
    return Difference(
        value=sum(part.weight * float(_contrast(part).mean()) for part in parts),
        by_seed=0.0,
        by_row=tuple(by_row),
        by_both=0.0,
        freedom=_freedom(sum(by_row), _with_freedom(parts, by_row)),
    )


def _contrast(part: Part) -> Float64[np.ndarray, " n"]:
    means = [group.mean(axis=0) for group in part.groups]
    # Sorted, so that rounding does not depend on the order of rows.
    return np.sort(means[0] if len(means) == 1 else means[0] - means[1])


def _by_row(part: Part) -> float:
    contrast = _contrast(part)
    if len(contrast) == 1:  # it gives no estimate of the variance between rows: the largest that shares can have
        return part.weight**2
    return part.weight**2 * float(contrast.var(ddof=1)) / len(contrast)


def _with_freedom(parts: Sequence[Part], by_row: Sequence[float]) -> list[tuple[float, int]]:
    return [(each, max(part.treated.shape[1] - 1, 1)) for part, each in zip(parts, by_row, strict=True)]


def _freedom(variance: float, known: Sequence[tuple[float, int]]) -> float:
    squared = sum(part**2 / freedom for part, freedom in known)
    return max(variance**2 / squared, 1.0) if squared else 1.0


def _row_mean(group: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, " k"]:
    return np.sort(group, axis=1).mean(axis=1)


def _interaction(group: Float64[np.ndarray, "k n"]) -> float:
    """The sum of squares that neither the seeds nor the rows explain."""
    left = group - group.mean(axis=0) - group.mean(axis=1, keepdims=True) + group.mean()
    return float(np.sort((left**2).flatten()).sum())
