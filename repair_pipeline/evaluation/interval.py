"""Half the width of a 95% interval for a mean with several sources of variance."""

from __future__ import annotations

from collections.abc import Iterable

from scipy.stats import t

CONFIDENCE = 0.975
"""Of each end of a 95% interval."""


def half_width(parts: Iterable[tuple[float, int]]) -> float:
    """Student's t interval with the degrees of freedom of Satterthwaite (1946).

    Args:
        parts: for each independent source, the variance of the mean due to it, and this estimate's degrees of freedom.

    Returns:
        Half of the interval's width; 0 if nothing varies.
    """
    known = list(parts)
    variance = sum(part for part, _ in known)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in known)
    return float(t.ppf(CONFIDENCE, freedom) * variance**0.5)
