"""What is done with each row of a patch: what it suggests, unless a person decides otherwise or an option leaves it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from repair_pipeline.datasets.labels import label_of, possible, shown, texts
from repair_pipeline.datasets.table_files import UNREADABLE, as_listed, read_table
from repair_pipeline.errors import InputError
from repair_pipeline.storage.decision_log import DecisionLog
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.types import Dataset, LabelForm

_CHANGES = ("drop", "relabel")
_LEFT = ("keep", "unsure")
_DECISIONS = (*_LEFT, *_CHANGES)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RowDecision:
    """What is done with one training row, and who said so."""

    example_id: str
    decision: str
    """keep, drop or relabel."""
    label: str | None
    """The class that it gets, or None if it is not relabelled."""
    source: str
    """suggestion; review, patch.csv or decisions file: a person; verdict, data, or an option: what left it alone."""
    left: str = ""
    """Why the row is left alone, as a phrase that follows a number of rows; empty if it is changed."""
    failure_group: str | None = None
    reviewer: str | None = None


ByExample = dict[str, RowDecision]
"""Decisions by example id."""


@dataclass(frozen=True)
class Choice:
    """Which suggestions of a patch are applied; None: all. What a person decides is done whatever they say."""

    min_probability: float | None = None
    """The least calibrated probability that the row is harmful."""
    only: str | None = None
    """drop or relabel."""
    limit: int | None = None
    """The most rows: those of the highest probability, and after them those of the highest rank."""

    def of(self, suggested: Iterable[Row]) -> Iterator[RowDecision]:
        """One decision for each suggestion, the most probable first.

        Args:
            suggested: rows of ``patch``, one for each training row.
        """
        taken = 0
        for row in sorted(suggested, key=_most_probable_first):
            source, left = self._left(row, taken)
            if left:
                yield RowDecision(row["example_id"], "keep", None, source, left)
            else:
                taken += 1
                yield RowDecision(row["example_id"], row["action"], row["suggested_label"], "suggestion")

    def _left(self, row: Row, taken: int) -> tuple[str, str]:
        """What leaves a row alone, and why; empty if nothing does."""
        if row["action"] == "keep":
            return "suggestion", "that are less certainly harmful"
        if self.min_probability is not None:
            option, probability = f"--min-probability {self.min_probability:g}", row.get("probability")
            if probability is None:
                return option, f"of unknown probability, {option}"
            if not probability >= self.min_probability:
                return option, f"below {option}"
        if self.only not in (None, row["action"]):
            return f"--only {self.only}", f"to {row['action']}, --only {self.only}"
        if taken == self.limit:
            return f"--limit {self.limit}", f"beyond --limit {self.limit}"
        return "", ""


def _most_probable_first(row: Row) -> tuple[Any, ...]:
    probability = row.get("probability")
    return probability is None, -(probability or 0.0), row["rank"], row["example_id"]


def decide(
    patch: Iterable[Row],
    proven: Collection[str],
    by_person: ByExample,
    choice: Choice,
    data: Dataset,
    changed: Collection[str] = (),
) -> ByExample:
    """The decision on every row of a patch, and on the other rows that a person decided about.

    Args:
        patch: rows of ``patch``. Of a training row that several groups suggest to change, the last suggestion counts.
        proven: failure groups whose suggestions are proven to help; those of others are left alone.
        by_person: what a person decided, by example id: it overrides suggestions.
        choice: which suggestions are applied.
        data: the training data as they are.
        changed: rows that the owner has changed since they were judged, by example id; they are left alone.

    Returns:
        By example id.
    """
    unproven = "not proven to help"
    decided = {row["example_id"]: RowDecision(row["example_id"], "keep", None, "verdict", unproven) for row in patch}
    of_proven = {row["example_id"]: row for row in patch if row["failure_group"] in proven}
    others = {name for name in changed if name in of_proven or name in by_person}
    by_person = {name: decision for name, decision in by_person.items() if name not in others}
    suggested = {name: row for name, row in of_proven.items() if name not in by_person and name not in others}
    decided |= {name: RowDecision(name, "keep", None, "data", "changed since they were judged") for name in others}
    decided |= {decision.example_id: decision for decision in choice.of(suggested.values())}
    given = dict(zip(data.train.ids.tolist(), texts(data.train.labels, data.classes), strict=True))
    for example_id, decision in by_person.items():
        if decision.label is not None and decision.label == given[example_id]:
            decision = replace(decision, decision="keep", label=None, left="that have their new class already")
        decided[example_id] = decision
    return decided


def changes(decided: ByExample, patch: Iterable[Row]) -> pa.Table:
    """The rows to change, as ``apply_patch`` takes them."""
    judged = {row["example_id"]: row["label"] for row in patch}
    rows = [
        {
            "example_id": example_id,
            "action": decision.decision,
            "suggested_label": decision.label,
            "label": judged.get(example_id),
        }
        for example_id, decision in decided.items()
        if decision.decision != "keep"
    ]
    columns = ("example_id", "action", "suggested_label", "label")
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in columns]))


def edits(layout: Layout, key: str, patch: Collection[Row], groups: Collection[str], data: Dataset) -> ByExample:
    """What a person decided by editing a case's ``patch.csv``: a row that she took out is kept.

    Raises:
        InputError: as for ``read_decisions``.
    """
    path = layout.patch(key, "patch.csv")
    if not path.exists() or not patch:
        return {}
    suggested = {(row["failure_group"], row["example_id"]): (row["action"], row["suggested_label"]) for row in patch}
    needed = ("failure_group", "example_id", "action", "suggested_label")
    ids = [row["example_id"] for row in patch]
    listed = list(_listed(path, "patch.csv", needed, "action", "suggested_label", groups, data, ids))
    still_listed = {line.example_id for line in listed}
    gone = {row["example_id"] for row in patch} - still_listed
    changed = [
        line
        for line in listed
        if suggested.get((line.failure_group or "", line.example_id)) != (line.decision, line.label)
    ]
    return _one_each(path, [*(_kept(example_id, "patch.csv") for example_id in sorted(gone)), *changed])


def unfollowed_edits(layout: Layout, key: str, patch: pa.Table, data: Dataset) -> Iterator[str]:
    """Lines about edits of the patch's copies that are not followed: other columns of ``patch.csv``, and Parquet.

    Args:
        layout: the store.
        key: the case.
        patch: the table ``patch`` of the case.
        data: the training data as they are.
    """
    path, copy = layout.patch(key, "patch.csv"), layout.patch(key, "patch.parquet")
    judged = {row["example_id"]: row["label"] for row in patch.to_pylist()}
    table = read_table(path) if path.exists() and judged else pa.table({})
    if {"example_id", "label"} <= set(table.column_names):
        ids, labels = as_listed(path, table, "example_id", judged), as_listed(path, table, "label", data.classes)
        edited = [name for name, label in zip(ids, labels, strict=True) if label != (judged.get(name, label) or "")]
        if edited:
            yield (
                f"{path}: the column label was edited in {len(edited)} rows ({shown(edited, 5)}), which changes "
                "nothing: give a row another class by its action and suggested_label, or by --decisions FILE"
            )
    if copy.exists() and not _is_copy(copy, patch):
        yield f"{copy} was edited, which changes nothing: edit patch.csv, or decide about rows with --decisions FILE"


def _is_copy(path: Path, patch: pa.Table) -> bool:
    try:
        return bool(read_parquet(path)[0].equals(patch))
    except UNREADABLE:
        return False


def read_decisions(path: Path, groups: Collection[str], data: Dataset, judged: Iterable[str] = ()) -> ByExample:
    """What a person or an annotation tool decided about training rows.

    Args:
        path: a CSV or Parquet file with the columns ``example_id``, ``decision`` (keep, drop, relabel) and, where a row
            is relabelled, ``label`` (the name of its new class); optionally ``failure_group`` and ``reviewer``.
        groups: the case's failure groups.
        data: the training data as they are.
        judged: ids of rows that the data may have lost since they were judged.

    Raises:
        InputError: the file cannot be read or lacks a column; or it names an unknown row, decision, class or group, or
            decides differently about one row.
    """
    needed = ("example_id", "decision")
    return _one_each(path, _listed(path, "decisions file", needed, "decision", "label", groups, data, judged))


def reviewed(layout: Layout, key: str) -> ByExample:
    """What people decided in ``repair review``. A row that they are unsure about is left alone."""
    log = DecisionLog(layout, key).read()
    found = ByExample()
    for example_id, said in log.latest.items():
        if said.decision in _CHANGES:
            found[example_id] = RowDecision(example_id, said.decision, said.label, "review", reviewer=said.who)
        elif said.decision != "undecided":
            left = "kept by review" if said.decision == "keep" else "that reviewers are unsure about"
            found[example_id] = RowDecision(example_id, "keep", None, "review", left, reviewer=said.who)
    return found


def _kept(example_id: str, source: str) -> RowDecision:
    return RowDecision(example_id, "keep", None, source, f"kept by {source}")


def _listed(
    path: Path,
    source: str,
    needed: Collection[str],
    decision_column: str,
    label_column: str,
    groups: Collection[str],
    data: Dataset,
    judged: Iterable[str],
) -> Iterator[RowDecision]:
    """The decisions of a file, in its order."""
    table = read_table(path)
    if missing := [name for name in needed if name not in table.column_names]:
        raise InputError(
            f"{path} has no column {missing[0]!r}, only {shown(table.column_names)}: add it, as it is needed to know "
            "what to do with a row"
        )

    def column(name: str, known: Collection[str] = ()) -> list[str]:
        return as_listed(path, table, name, known) if name in table.column_names else [""] * len(table)

    given = dict(zip(data.train.ids.tolist(), data.train.labels, strict=True))
    known = {*given, *judged}
    listed = column("example_id", known)
    if strangers := [name for name in listed if name not in known]:
        raise InputError(
            f"{path} names {len(strangers)} rows that are none of the training data ({shown(strangers, 5)}): take them "
            "out, or give the example_id that the view examples has"
        )
    columns = (
        column(decision_column),
        column(label_column, data.classes),
        column("failure_group", groups),
        column("reviewer"),
    )
    for example_id, decision, label, group, reviewer in zip(listed, *columns, strict=True):
        decision, where = decision.strip(), f"{path}: row {example_id!r}"
        if decision not in _DECISIONS or (decision == "relabel") != bool(label):
            raise InputError(
                f"{where} has the {decision_column} {decision!r} and the {label_column} {label!r}: write drop or keep "
                f"without a class, or relabel with one in the column {label_column}"
            )
        if label and not LabelForm.of(data.train.labels).corrects:
            raise InputError(
                f"{where} is to get another label, but a label of several parts is not corrected: drop the row"
            )
        has = given.get(example_id)
        if label and has is not None and label_of(label, data.classes, has) is None:
            raise InputError(f"{where} has the {label_column} {label!r}, but {possible(has, data.classes)}")
        if group and group not in groups:
            raise InputError(
                f"{where} has the failure_group {group!r}, but the case has {shown(groups)}: use one of them, or leave "
                "the field empty"
            )
        line = (
            _kept(example_id, source) if decision in _LEFT else RowDecision(example_id, decision, label or None, source)
        )
        yield replace(line, failure_group=group or None, reviewer=reviewer or None)


def _one_each(path: Path, listed: Iterable[RowDecision]) -> ByExample:
    """The decisions by example id. A row may occur again with the same decision; then the first one is taken."""
    by_id = ByExample()
    for line in listed:
        first = by_id.setdefault(line.example_id, line)
        if (first.decision, first.label) != (line.decision, line.label):
            said = " and ".join(f"{each.decision} {each.label or ''}".strip() for each in (first, line))
            raise InputError(f"{path} says both {said} of the row {line.example_id!r}: leave one of them")
    return by_id


# The record.


def save_decisions(
    layout: Layout, key: str, decided: ByExample, patch: Iterable[Row], before: str, after: str, at: datetime
) -> None:
    """Add an applied patch to the table ``applied``: a row for each failure group of a training row.

    Args:
        layout: the store.
        key: the case.
        decided: the decisions by example id.
        patch: rows of ``patch``.
        before: digest of the training data before the patch was applied.
        after: digest of them after it.
        at: when it was applied.
    """
    path = layout.table("applied", key)
    groups = dict[str, list[str]]()
    for row in patch:
        groups.setdefault(row["example_id"], []).append(row["failure_group"])
    rows = [
        {
            "failure_group": group,
            "example_id": example_id,
            "decision": decision.decision,
            "label": decision.label,
            "source": decision.source,
            "reviewer": decision.reviewer,
            "decided_at": at,
        }
        for example_id, decision in decided.items()
        for group in groups.get(example_id, [decision.failure_group])
    ]
    earlier = read_parquet(path)[0].to_pylist() if path.exists() else []
    save_rows(path, "applied", [*earlier, *rows], {"before": before, "after": after})


def forget_application(layout: Layout, key: str, at: datetime) -> None:
    """Take an application that was cut off from the table ``applied``: the data are what they were before it.

    Args:
        layout: the store.
        key: the case.
        at: when it was begun.
    """
    path = layout.table("applied", key)
    if path.exists():
        table, notes = read_parquet(path)
        rows = table.to_pylist()
        others = [row for row in rows if row["decided_at"] != at]
        if not others:
            path.unlink()
        elif len(others) < len(rows):
            save_rows(path, "applied", others, notes)


def digests_of_application(layout: Layout, key: str) -> tuple[str, str] | None:
    """The digests of the training data before and after a case's patch was last applied; None if there is no record."""
    path = layout.table("applied", key)
    if not path.exists():
        return None
    notes = read_parquet(path)[1]
    return notes["before"], notes["after"]
