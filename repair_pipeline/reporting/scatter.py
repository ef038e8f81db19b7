"""Scatter plots whose points differ without colour: each has its own shape and a number beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from repair_pipeline.reporting.descriptions import Kind, by_kind, kind, short_name
from repair_pipeline.reporting.evidence import Evidence
from repair_pipeline.reporting.picture import BLUE, GREY, INK, VERMILLION, Picture, canvas

SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h", "d", "8")
_COLOURS: dict[Kind, tuple[str, str]] = {
    "before": (GREY, GREY),
    "repair": (BLUE, BLUE),
    "control": (VERMILLION, "white"),
    "reference": (INK, "white"),
}
"""Colours of edge and face: repairs are filled, controls and references hollow."""
_ENTRY = 0.2
"""Height of a line of the legend, in inches."""
_NEAR = 11.0
"""Distance between a marker and its number, in points."""


@dataclass(frozen=True)
class Point:
    """One marker."""

    x: float
    y: float
    number: int
    """Shown beside the marker, and in the table."""
    shape: str
    edge: str
    face: str
    label: str | None
    """Its entry in the legend; None if another point of the same kind has the entry."""


def trade_off(evidence: Evidence) -> Picture:
    """Accuracy on the holdout against accuracy on remaining rows, one marker per row of the recovery table."""
    rows = by_kind(evidence.recovery)
    points = [
        Point(
            100 * row["remaining_accuracy"],
            100 * row["holdout_accuracy"],
            number,
            SHAPES[(number - 1) % len(SHAPES)],
            *_COLOURS[kind(row)],
            label=f"{number}  {short_name(row)} ({kind(row)})",
        )
        for number, row in enumerate(rows, start=1)
    ]
    figure, ax = canvas(3.4 + _ENTRY * len(points))
    low = 5 * np.floor(min(point.x for point in points) / 5 - 0.2)
    span = 100 - low
    ax.set(xlim=(low, 100 + 0.04 * span), ylim=(-4, 104))
    ax.set(xlabel="remaining rows still right (%)", ylabel="held-out failures corrected (%)")
    draw_points(figure, ax, points)
    listed = "; ".join(
        f"{number}, {short_name(row)} ({kind(row)}): {row['holdout_accuracy']:.1%} and {row['remaining_accuracy']:.1%}"
        for number, row in enumerate(rows, start=1)
    )
    return Picture(figure, f"Scatter of accuracy on the holdout and on the remaining rows. {listed}.")


def draw_points(figure: Figure, ax: Axes, points: Sequence[Point]) -> None:
    """Draws markers, a number beside each that covers no other marker, and the legend below.

    Set the limits of the axes before.
    """
    for point in points:
        style: dict[str, Any] = {
            "marker": point.shape,
            "ls": "",
            "ms": 7.5,
            "mec": point.edge,
            "mfc": point.face,
            "mew": 1.6,
        }
        ax.plot(point.x, point.y, label=point.label, clip_on=False, zorder=3, **style)
    figure.legend(loc="outside lower center", ncols=1, handlelength=1)
    figure.draw_without_rendering()  # places the axes
    at = ax.transData.transform([(point.x, point.y) for point in points])
    for point, offset in zip(points, _offsets(at, ax.bbox, figure.dpi), strict=True):
        ax.annotate(str(point.number), (point.x, point.y), offset, textcoords="offset points", ha="center",
                    va="center", fontsize=8.5, annotation_clip=False, zorder=4)  # fmt: skip


def _offsets(at: NDArray[np.float64], within: Bbox, dpi: float) -> Iterator[tuple[float, float]]:
    """For each marker, the offset of its number in points: the nearest place that is still free."""
    taken, pixels = list(at), dpi / 72
    ring = [(np.cos(turn), np.sin(turn)) for turn in np.pi * np.array([0.25, 0.75, 1.25, 1.75, 0, 1, 0.5, 1.5])]
    for marker in at:
        places = [(far * x, far * y) for far, (x, y) in product((_NEAR, 17, 24), ring)]

        def room(place: tuple[float, float], marker: NDArray[np.float64] = marker) -> float:
            label = marker + pixels * np.array(place)
            inside = within.x0 < label[0] < within.x1 and within.y0 < label[1] < within.y1
            nearest = min(np.hypot(*(label - other)) for other in taken) / pixels
            return min(float(nearest), _NEAR) - (0 if inside else 3)

        place = max(places, key=room)  # the first of the best is the nearest
        taken.append(marker + pixels * np.array(place))
        yield place
