"""Hand-over of rows to annotation tools, and of their decisions back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from repair_pipeline.datasets.labels import shown
from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.desk import UNDECIDED, Desk
from repair_pipeline.reporting.review.formats import cleanlab, decisions, fiftyone, huggingface, label_studio
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver
from repair_pipeline.reporting.review.pictures import picture
from repair_pipeline.storage.decision_log import CHOICES, Decision

_AT_ONCE = 500


@dataclass(frozen=True)
class Format:
    """A layout of rows in an annotation tool."""

    line: str
    write: Callable[[Path, list[HandedOver], tuple[str, ...]], None]
    read: Callable[[Path, tuple[str, ...]], Iterable[Answer]]


FORMATS: Mapping[str, Format] = {
    "label-studio": Format("a JSON file of tasks, and its labelling interface", label_studio.write, label_studio.read),
    "fiftyone": Format("a folder with samples.json and the images", fiftyone.write, fiftyone.read),
    "cleanlab": Format("a CSV file with the columns of Datalab's label issues", cleanlab.write, cleanlab.read),
    "decisions": Format("a CSV file that repair patch apply --decisions reads", decisions.write, decisions.read),
    "huggingface": Format("a folder that load_dataset reads, with a Parquet file", huggingface.write, huggingface.read),
}


def form(name: str) -> Format:
    """A format by its name.

    Raises:
        InputError: there is no such format.
    """
    if name not in FORMATS:
        raise InputError(f"there is no format {name!r}: choose among {', '.join(FORMATS)}")
    return FORMATS[name]


def hand_over(desk: Desk, name: str, path: Path) -> tuple[int, int]:
    """Write the rows of the patch and those that were decided about; without a patch, all rows.

    Args:
        desk: the review.
        name: of the format.
        path: the file or folder to write.

    Returns:
        The number of rows, and how many of them have a decision.

    Raises:
        InputError: there is no such format.
    """
    writing, rows = form(name), list[HandedOver]()
    for row in _rows(desk):
        image = picture(desk.sheet, "row", row["at"]) if desk.sheet.has_images else None
        said = desk.log.latest.get(row["example_id"])
        rows.append(HandedOver(row, image, None if said is None or said.decision == UNDECIDED else said))
    writing.write(path, rows, desk.sheet.data.classes)
    return len(rows), sum(row.decision is not None for row in rows)


def _rows(desk: Desk) -> Iterable[Mapping[str, Any]]:
    desk.log.read()
    decided = [desk.sheet.position[name] for name in desk.log.latest if name in desk.sheet.position]
    wanted = desk.sheet.in_patch.copy()
    wanted[decided] = True
    if not desk.sheet.in_patch.any():
        wanted[:] = True
    positions = np.flatnonzero(wanted)
    for start in range(0, len(positions), _AT_ONCE):
        yield from desk.sheet.shown(positions[start : start + _AT_ONCE].tolist())


def take_back(desk: Desk, name: str, path: Path) -> tuple[int, int]:
    """Store the decisions that an annotation tool returns.

    Args:
        desk: the review.
        name: of the format.
        path: the file or folder.

    Returns:
        The number of decisions that are new, and of those that were known already.

    Raises:
        InputError: there is no such format; the file cannot be read, or a decision in it cannot be used.
    """
    reading, sheet = form(name), desk.sheet
    desk.log.read()
    known = {_what(entry) for entry in desk.log.entries}
    given = dict(zip(sheet.rows["example_id"].to_pylist(), sheet.rows["label"].to_pylist(), strict=True))
    new, found, strangers = list[Decision](), 0, list[str]()
    for answer in reading.read(path, sheet.data.classes):
        if answer.example_id not in given:
            strangers.append(answer.example_id)
        elif (decision := _decision(path, answer, given[answer.example_id], sheet.data.classes)) is not None:
            found += 1
            now = desk.log.latest.get(answer.example_id)
            # An answer without a time that says what counts already is the same one, imported again.
            if answer.decided_at is None and now is not None:
                is_new = (now.decision, now.label) != (decision.decision, decision.label)
            else:
                is_new = _what(decision) not in known
            new += [decision] if is_new else []
    if strangers:
        raise InputError(
            f"{path} names {len(strangers)} rows that are none of case {sheet.case_id} ({shown(strangers, 5)}): take "
            "them out, or give the case that was exported"
        )
    desk.log.store(new)
    return len(new), found - len(new)


def _what(decision: Decision) -> tuple[object, ...]:
    return decision.example_id, decision.decision, decision.label, decision.decided_at, decision.who


def _decision(path: Path, answer: Answer, given: str, classes: tuple[str, ...]) -> Decision | None:
    """What an annotator decided; None if she has not. A label other than the given one says relabel by itself."""
    said, label = answer.decision, answer.label
    if not said and label and label != given:
        said = "relabel"
    if not said or said == UNDECIDED:
        return None
    choice = next((choice for choice in CHOICES if choice == said), None)
    if choice is None:
        raise InputError(
            f"{path}: row {answer.example_id!r} has the decision {said!r}: write one of {', '.join(CHOICES)}"
        )
    if choice == "relabel" and label not in classes:
        raise InputError(
            f"{path}: row {answer.example_id!r} is to be relabelled to {label!r}, but the classes are "
            f"{shown(classes)}: use one of them"
        )
    if choice == "relabel" and label == given:
        choice = "keep"
    when, new_label = answer.decided_at or datetime.now(UTC), label if choice == "relabel" else None
    return Decision(answer.example_id, choice, new_label, answer.who or "unknown", when, answer.note)
