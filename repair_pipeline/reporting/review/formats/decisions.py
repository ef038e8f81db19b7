"""A decisions file, as ``repair patch apply --decisions`` reads it: a CSV file of the rows that were decided about."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver, columns
from repair_pipeline.storage.files import write_text

HEAD = ("example_id", "decision", "label", "reviewer", "decided_at", "note")


def write(path: Path, rows: list[HandedOver], classes: tuple[str, ...]) -> None:
    """Write a line for each decision."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEAD)
    lines.writerows([row.row["example_id"], *row.said.values()] for row in rows if row.decision is not None)
    write_text(path, text.getvalue())


def read(path: Path, classes: tuple[str, ...]) -> Iterator[Answer]:
    """The decisions of the lines.

    Raises:
        InputError: the file cannot be read.
    """
    for line in csv_lines(path):
        yield columns({**line, "new_label": line.get("label"), "who": line.get("reviewer")})


def csv_lines(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV file with a decision in each.

    Raises:
        InputError: it cannot be read, or has no column ``example_id`` or ``decision``.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            if missing := {"example_id", "decision"} - set(lines.fieldnames or ()):
                raise ValueError(f"no column {min(missing)}")
            return list(lines)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error!r}): give a CSV file with example_id and decision") from error
