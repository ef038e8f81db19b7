"""The contact sheet: failures beside the training rows with the greatest influence on each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repair_pipeline.datasets.labels import texts
from repair_pipeline.reporting.contents import Contents
from repair_pipeline.reporting.descriptions import shortened, signed
from repair_pipeline.reporting.evidence import CONTACTS, Evidence
from repair_pipeline.reporting.gallery import draw
from repair_pipeline.reporting.picture import GREY, WIDTH, Numbers, Picture
from repair_pipeline.types import CorruptedDataset, Examples

_FAILURES = 8
_LONGEST = 10
"""Letters of a class name that fit below an image."""

# Inches.
_SIDE, _LINE, _HEAD = 0.6, 1.02, 0.3
_FAILURE_AT, _RULE_AT, _ROWS_AT, _STEP = 0.28, 1.21, 1.37, 0.69


def shown_failures(failures: Examples, paired: Collection[str]) -> list[int]:
    """Positions of the failures that fit on the sheet; those with pairs come first."""
    return sorted(range(len(failures)), key=lambda at: str(failures.ids[at]) not in paired)[:_FAILURES]


def listed(evidence: Evidence) -> Numbers:
    """Failures beside the rows that oppose them, as a table, without the model's predictions."""
    fit, failures, classes = evidence.data.fit.examples, evidence.partition.query, evidence.data.classes
    given_labels, failure_labels = texts(fit.labels, classes), texts(failures.labels, classes)
    row_of = {str(example_id): row for row, example_id in enumerate(fit.ids)}
    contents, rows = Contents(evidence.data), []
    for at in shown_failures(failures, {pair["failure_id"] for pair in evidence.opposing}):
        failure, label = str(failures.ids[at]), failure_labels[at]
        pairs = [pair for pair in evidence.opposing if pair["failure_id"] == failure]
        [of_failure] = contents.cells(failures[at : at + 1])
        for pair in sorted(pairs, key=lambda pair: pair["rank"]):
            row = row_of[pair["example_id"]]
            [of_row] = contents.cells(fit[row : row + 1])
            beside = (pair["example_id"], *of_row, given_labels[row], signed(pair["influence"]))
            rows.append((failure, *of_failure, label, *beside))
    head = ("Failure", *contents.head, "Its label", "Training row", *contents.head, "Given label")
    return Numbers((*head, "Influence on the failure"), rows)


def contact_sheet(
    data: CorruptedDataset,
    failures: Examples,
    paired: Mapping[str, Sequence[tuple[str, float]]],
    predicted: Mapping[str, str],
) -> Picture:
    """Up to 8 failures, one per line: the failure on the left, and up to 5 rows of D, greatest influence first.

    Args:
        data: the case's data set; its inputs are images.
        failures: images; those with pairs are shown first.
        paired: by failure id, pairs (id of a row of D, influence on the failure in nats; positive is harmful).
        predicted: by failure id, the label that the model predicts.
    """
    fit = data.fit.examples
    given_labels, failure_labels = texts(fit.labels, data.classes), texts(failures.labels, data.classes)
    row_of = {str(example_id): row for row, example_id in enumerate(fit.ids)}
    shown = shown_failures(failures, paired)
    height = _HEAD + len(shown) * _LINE
    figure = Figure(figsize=(WIDTH, height))

    def frame(line: int, left: float) -> Axes:
        bottom = height - _HEAD - line * _LINE - _SIDE
        return figure.add_axes((left / WIDTH, bottom / height, _SIDE / WIDTH, _SIDE / height))

    def rule(x: tuple[float, float], y: tuple[float, float], color: str) -> None:
        across, down = [at / WIDTH for at in x], [1 - at / height for at in y]
        figure.add_artist(Line2D(across, down, color=color, linewidth=0.8))

    head: dict[str, Any] = {"y": 1 - 0.08 / height, "va": "top", "fontsize": 9}
    figure.text((_FAILURE_AT + _SIDE / 2) / WIDTH, s="failure", ha="center", **head)
    figure.text(_ROWS_AT / WIDTH, s="training rows: given label, influence on the failure", **head)
    rule((_RULE_AT, _RULE_AT), (0.08, height - 0.06), GREY)
    alt_texts = []
    for line, at in enumerate(shown):
        example_id, label = str(failures.ids[at]), failure_labels[at]
        prediction = predicted[example_id]
        caption = f"label {shortened(label, _LONGEST)}\nmodel {shortened(prediction, _LONGEST)}"
        draw(frame(line, _FAILURE_AT), failures[at : at + 1].tensor[0], data.mean, caption)
        rows = []
        greatest = sorted(paired.get(example_id, ()), key=lambda pair: (-pair[1], pair[0]))[:CONTACTS]
        for place, (row_id, influence) in enumerate(greatest):
            row = row_of[row_id]
            given = given_labels[row]
            caption = f"{shortened(given, _LONGEST)}\n{signed(influence)}"
            draw(frame(line, _ROWS_AT + place * _STEP), fit[row : row + 1].tensor[0], data.mean, caption)
            rows.append(f"given {given}, influence {signed(influence)}")
        alt_texts.append(f"labelled {label}, predicted {prediction}: {'; '.join(rows) or 'no training row'}.")
    numbered = (f"Failure {number}, {text}" for number, text in enumerate(alt_texts, start=1))
    return Picture(
        figure, " ".join(["Failures, and the training rows with the greatest influence on each.", *numbered])
    )
