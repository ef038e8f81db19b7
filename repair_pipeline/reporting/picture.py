"""What all pictures share: alt text, one style, and export to SVG and PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's colours, which colour-blind people can tell apart. Lines and marks differ in more than colour anyway.
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
WINE = "#882255"
INK, GREY, FAINT = "#1f2933", "#5f6b76", "#d9dee3"

WIDTH = 4.8
"""Inches. At this width 10 pt text is as large as the page's on a laptop, and still legible on a phone."""

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # class names may hold dollar signs
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 3.2,
    "hatch.linewidth": 0.6,
    "figure.dpi": 200,  # for the PNGs that MLflow stores
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, WINE, INK])
    + cycler(linestyle=["-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)), (0, (1, 3))])
    + cycler(marker=["o", "s", "^", "D", "v", "P", "X", "*"]),
}

_DESCRIPTION = "Description"
"""The PNG standard's keyword for a description of the image."""


@dataclass(frozen=True)
class Numbers:
    """A table to show on a page. The first cell of each row is its heading."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its alt text and, where no other table has them, its numbers."""

    figure: Figure
    alt_text: str
    numbers: Numbers | None = None
    """The numbers it is drawn from; None if the page shows them in another table."""


def svg(name: str, picture: Picture) -> bytes:
    """The picture as SVG. Ids inside are unique within a page, and the same picture gives the same bytes."""
    buffer, omitted = io.BytesIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):
        picture.figure.savefig(buffer, format="svg", metadata=omitted)
    return buffer.getvalue()


def png(picture: Picture) -> bytes:
    """The picture as PNG, with its alt text in the metadata. The same picture gives the same bytes."""
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="png", metadata={"Software": None, _DESCRIPTION: picture.alt_text})
    return buffer.getvalue()


def description_of(path: Path) -> str:
    """The alt text that ``png`` stored in a file."""
    with Image.open(path) as image:
        return str(image.info.get(_DESCRIPTION, "A picture without a description: it was drawn by an earlier version."))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height at which a page shows a PNG, in CSS pixels."""
    with Image.open(path) as image:
        width, height = image.size
    return round(96 * WIDTH), round(96 * WIDTH * height / width)


def look() -> Any:
    """A context manager that sets the common style. Draw every figure inside it."""
    return rc_context(_STYLE)


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure of the common width with one set of axes; ``height`` is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()
