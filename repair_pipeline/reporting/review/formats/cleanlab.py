"""cleanlab: a CSV file with the columns of ``Datalab.get_issues("label")``, and columns for the decision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from repair_pipeline.reporting.review.formats.decisions import csv_lines
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver, columns
from repair_pipeline.storage.files import write_text

_CHANGES = ("drop", "relabel")


def write(path: Path, rows: list[HandedOver], classes: tuple[str, ...]) -> None:
    """Write a line a row. ``label_score`` is 1 − P(wrong), as Datalab's is low for labels that are likely wrong."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    head = ["example_id", "is_label_issue", "label_score", "given_label", "predicted_label"]
    lines.writerow([*head, "decision", "new_label", "who", "decided_at", "note"])
    for row in rows:
        known, probability = row.row, row.row["probability"]
        score = "" if probability is None else 1 - probability
        issue = known["action"] in _CHANGES
        lines.writerow(
            [known["example_id"], issue, score, known["label"], known["suggested_label"] or "", *row.said.values()]
        )
    write_text(path, text.getvalue())


def read(path: Path, classes: tuple[str, ...]) -> Iterator[Answer]:
    """The decisions of the lines. An ``is_label_issue`` by itself is a computation, not a decision.

    Raises:
        InputError: the file cannot be read.
    """
    yield from map(columns, csv_lines(path))
