"""Grids of example images with captions, and the same rows as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.datasets.labels import texts
from repair_pipeline.reporting.contents import Contents
from repair_pipeline.reporting.descriptions import shortened, signed
from repair_pipeline.reporting.evidence import Evidence
from repair_pipeline.reporting.picture import FAINT, VERMILLION, WIDTH, Numbers, Picture
from repair_pipeline.types import Examples

SHOWN = 16
"""Training rows at each end of the ranking that are shown."""
_COLUMNS = 4
_FAILURES = 2 * _COLUMNS
LONGEST = 10
"""Letters of a class name that fit below an image."""


def are_images(examples: Examples) -> bool:
    """Whether inputs have the shape n × c × height × width with c = 1 or 3 channels."""
    return len(examples.shape) == 3 and examples.shape[0] in (1, 3)


def most_and_least_harmful(evidence: Evidence) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in D of the ``SHOWN`` most harmful rows, most harmful first, and of the least harmful, least first."""
    assert evidence.scores is not None
    order = evidence.scores.order
    return order[:SHOWN], order[-SHOWN:][::-1].copy()


def training_rows(evidence: Evidence, positions: NDArray[np.int64], title: str) -> Picture:
    """Images of rows of D with their labels and influence; planted rows are framed and captioned as such."""
    assert evidence.scores is not None
    fit = evidence.data.fit
    captions, alt_texts = [], []
    for row in positions:
        given, value = name_of(fit.examples.labels, row, evidence), evidence.scores.values[row].item()
        lines, planted = [f"given {shortened(given, LONGEST)}"], bool(fit.corrupted[row])
        alt_text = f"given {given}"
        if evidence.planted:  # otherwise the true labels are not known
            true = name_of(fit.clean_labels, row, evidence)
            lines.append(f"true {shortened(true, LONGEST)}")
            alt_text += f", true {true}, {'planted' if planted else 'not planted'}"
        elif evidence.patch:
            suggested = suggestion(evidence, row)
            lines.append(f"model {shortened(suggested, LONGEST)}")
            alt_text += f", the repaired model suggests {suggested}"
        lines.append(f"{'planted' if planted else 'r̃'} {signed(value)}")
        captions.append("\n".join(lines))
        alt_texts.append(f"{alt_text}, influence {signed(value)}")
    inputs = fit.examples[torch.from_numpy(positions)].tensor
    figure = grid(evidence, inputs, captions, fit.corrupted.numpy()[positions])
    return Picture(figure, f"{title}: {'; '.join(alt_texts)}.", listed(evidence, positions))


def name_of(labels: Tensor, row: np.int64, evidence: Evidence) -> str:
    """The label of one row, as it is shown."""
    return texts(labels[int(row)][None], evidence.data.classes)[0]


def suggestion(evidence: Evidence, row: np.int64) -> str:
    """The label that the repaired model suggests for a row of D, or a dash if it suggests none."""
    return evidence.suggested.get(str(evidence.data.fit.examples.ids[row])) or "–"


def listed(evidence: Evidence, positions: NDArray[np.int64]) -> Numbers:
    """Rows of D as a table, with their labels and influence."""
    assert evidence.scores is not None
    fit, values = evidence.data.fit, evidence.scores.values

    def more_cells(row: np.int64) -> tuple[str, ...]:
        if evidence.planted:
            return name_of(fit.clean_labels, row, evidence), "planted" if fit.corrupted[row] else "no"
        return (suggestion(evidence, row),) if evidence.patch else ()

    more_heads = ("True label", "Planted") if evidence.planted else ("Suggested label",) if evidence.patch else ()
    contents = Contents(evidence.data)
    cells = contents.cells(fit.examples[torch.from_numpy(positions)])
    rows = [
        (
            *(str(fit.examples.ids[row]), *cell, name_of(fit.examples.labels, row, evidence)),
            *(*more_cells(row), signed(values[row].item())),
        )
        for row, cell in zip(positions, cells, strict=True)
    ]
    return Numbers(("Row", *contents.head, "Given label", *more_heads, "Influence"), rows)


def listed_failures(evidence: Evidence) -> Numbers:
    """The failures that ``failures`` shows, as a table."""
    shown = evidence.partition.query[:_FAILURES]
    labels, contents = texts(shown.labels, evidence.data.classes), Contents(evidence.data)
    rows = zip(map(str, shown.ids), contents.cells(shown), labels, strict=True)
    return Numbers(("Test row", *contents.head, "Label"), [(name, *cell, label) for name, cell, label in rows])


def failures(evidence: Evidence) -> Picture:
    """Images of the first query failures. Held-out failures are never shown."""
    shown = evidence.partition.query[:_FAILURES]
    labels = texts(shown.labels, evidence.data.classes)
    captions = [f"label {shortened(label, LONGEST)}" for label in labels]
    figure = grid(evidence, shown.tensor, captions, np.zeros(len(shown), dtype=bool))
    alt_text = f"{len(shown)} test images that the model gets wrong, labelled {', '.join(labels)}."
    return Picture(figure, alt_text, listed_failures(evidence))


def grid(
    evidence: Evidence, inputs: Float[Tensor, "n c h w"], captions: Sequence[str], framed: NDArray[np.bool_]
) -> Figure:
    """Images in rows of four with their captions; ``framed`` are those with a thick frame."""
    lines, rows = max(caption.count("\n") for caption in captions) + 1, -(-len(captions) // _COLUMNS)
    figure = Figure(figsize=(WIDTH, rows * (1.02 + 0.19 * lines)), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False, subplot_kw={"xticks": [], "yticks": []}).flat
    for ax, image, caption, frame in zip(axes, inputs, captions, framed, strict=False):
        draw(ax, image, evidence.data.mean, caption, VERMILLION if frame else FAINT, 3 if frame else 0.8)
    for ax in figure.axes[len(captions) :]:
        ax.set_axis_off()
    return figure


def draw(
    ax: Axes,
    image: Float[Tensor, "c h w"],
    mean: Float[Tensor, " c"],
    caption: str,
    frame: str = FAINT,
    width: float = 0.8,
) -> None:
    """Draws one image in a frame, with its caption below.

    Args:
        ax: where to draw.
        image: pixels less ``mean``.
        mean: of each channel, which is added back.
        caption: text below the image.
        frame: colour of the frame.
        width: of the frame, in points.
    """
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    ax.imshow(pixels(image, mean), cmap="gray", vmin=0, vmax=1, interpolation="none")
    ax.set_xlabel(caption, fontsize=8.5, labelpad=3)
    ax.spines[:].set(visible=True, color=frame, linewidth=width)


def pixels(image: Float[Tensor, "c h w"], mean: Float[Tensor, " c"]) -> NDArray[np.float32]:
    """An image as it is shown: brightness from 0 to 1, height × width, and × 3 for colours.

    Args:
        image: pixels less ``mean``.
        mean: of each channel, which is added back.
    """
    bright = image + mean[:, None, None]
    low, high = bright.min().item(), bright.max().item()
    if low < -0.01 or high > 1.01:  # a user's transform may leave pixels outside [0, 1]
        bright = (bright - low) / (high - low)
    shown = bright.clip(0, 1).permute(1, 2, 0).numpy()
    return shown.squeeze(-1) if shown.shape[-1] == 1 else shown
