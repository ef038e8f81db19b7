"""What every picture shares: its words for who cannot see it, and one look."""

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

# Okabe and Ito's colours, told apart by colour-blind people; lines and marks differ in more than colour all the same.
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
WINE = "#882255"
INK, GREY, FAINT = "#1f2933", "#5f6b76", "#d9dee3"

WIDTH = 4.8
"""Inches: 10 pt text is as large as the page's on a laptop, and still read on a phone."""

_LOOK: dict[Any, Any] = {
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
    "figure.dpi": 200,  # of the PNGs that trackers keep
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, WINE, INK])
    + cycler(linestyle=["-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (2, 1)), (0, (1, 3))])
    + cycler(marker=["o", "s", "^", "D", "v", "P", "X", "*"]),
}


_WORDS = "Description"
"""PNG's own keyword for what an image shows."""


@dataclass(frozen=True)
class Numbers:
    """A table as a page shows it: the first cell of each row names the row."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str | int, ...]]


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, and the same in words."""

    figure: Figure
    says: str
    numbers: Numbers | None = None
    """What it is drawn from; None where a table of its own has that."""


def svg(name: str, picture: Picture) -> bytes:
    """The picture as SVG: names inside it meet no others in a page, and it is the same bytes every time."""
    buffer, unsaid = io.BytesIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):
        picture.figure.savefig(buffer, format="svg", metadata=unsaid)
    return buffer.getvalue()


def png(picture: Picture) -> bytes:
    """The picture as PNG, its words within it, the same bytes every time."""
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="png", metadata={"Software": None, _WORDS: picture.says})
    return buffer.getvalue()


def words_of(path: Path) -> str:
    """What a PNG of ours shows, in words."""
    with Image.open(path) as image:
        return str(image.info.get(_WORDS, "A picture that was drawn before its words were kept with it."))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG of ours on a page, in CSS pixels."""
    with Image.open(path) as image:
        width, height = image.size
    return round(96 * WIDTH), round(96 * WIDTH * height / width)


def look() -> Any:
    """The context in which every figure is drawn."""
    return rc_context(_LOOK)


def canvas(height: float) -> tuple[Figure, Axes]:
    """One chart of the common width."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()
