"""Applying a data set patch to the user's training data, and reverting it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from repair_pipeline.datasets.applications import (
    Application,
    Replacement,
    carry_out,
    content_digest,
    flush,
    folder_of_originals,
    new_file,
    read_record,
    take_back,
    undo,
)
from repair_pipeline.datasets.labels import IGNORED, label_of, possible, relabelled, shown, texts
from repair_pipeline.datasets.rewriting import Change, labels_of, rewrite, unpatch
from repair_pipeline.datasets.table_files import UNREADABLE, is_text, parquet_files, read_table, schema
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.datasets.user_tables import class_places, image_files, is_image_folder
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples, LabelForm


def require_unapplied(spec: UserData, folder: Path, name: str) -> None:
    """Refuse a patch that is applied to the training data.

    Raises:
        InputError: the patch is applied, or the place of its originals is taken.
    """
    train = folder / spec.train
    before = folder_of_originals(train, name)
    if name in applied_patches(spec, folder):
        raise InputError(f"the patch {name} is already applied to {train}: revert it first")
    if before.exists():
        raise InputError(f"{before} exists, although the patch {name} is not applied: move it away")


def apply_patch(
    spec: UserData,
    folder: Path,
    patch: pa.Table,
    name: str,
    dry_run: bool = False,
    note: Callable[[], None] = lambda: None,
    form: LabelForm = LabelForm.CLASS,
    at: datetime | None = None,
) -> tuple[int, int]:
    """Drop and relabel training rows, all or none; the originals are kept as ``<train>.before-<name>``.

    Rows that are not in the patch are left as they are. Hash ids number the duplicates of an input, so dropping one of
    several equal rows changes the ids of the later ones.

    Args:
        spec: the user's data.
        folder: what the paths in ``spec`` are relative to.
        patch: ``example_id``, ``action`` (drop, relabel), ``suggested_label`` (as ``texts`` writes it) and ``label``,
            which the row had when it was judged.
        name: the patch's name.
        dry_run: whether to check the patch and change nothing.
        note: called when the files are replaced and before that is final; if it raises, they are put back.
        form: what a label is.
        at: when it is applied, for whoever undoes it after its process was killed.

    Returns:
        The numbers of rows dropped and relabelled.

    Raises:
        InputError: the patch is already applied; it names an unknown row or class, or a row whose label has changed
            since it was judged; or the file cannot be changed. Nothing is changed then.
    """
    train = folder / spec.train
    undo(train)
    require_unapplied(spec, folder, name)
    changes = {row["example_id"]: row for row in patch.to_pylist()}
    files = [] if is_image_folder(train) else parquet_files(train)
    before = {file: content_digest(file) for file in files}
    data = read(spec, folder, form)
    ids = data.train.ids.tolist()
    if missing := changes.keys() - set(ids):
        raise InputError(
            f"{train} has no row {min(missing)!r}, one of {len(missing)} rows of the patch {name} that are missing: "
            "the data have changed since the patch was made, run the case again"
        )
    new = {name: row["suggested_label"] for name, row in changes.items() if row["action"] == "relabel"}
    if new and not form.corrects:
        raise InputError(
            f"the patch {name} gives rows other labels, but one of several parts is not corrected: drop them"
        )
    if changed := [f"{example_id} {what}" for example_id, what in changed_labels(data, patch).items()]:
        raise InputError(
            f"{len(changed)} of {len(changes)} rows of the patch {name} have a different label in {train} than when "
            f"they were judged ({shown(changed, 5)}): run the case again on the current data"
        )
    for example_id, label in zip(ids, data.train.labels, strict=True):
        text = new.get(example_id)
        if text is not None and label_of(text, data.classes, label) is None:
            kind = "class" if form is LabelForm.CLASS else "label"
            raise InputError(f"the patch {name} gives rows the {kind} {text!r}, but {possible(label, data.classes)}")
    actions = [row["action"] for row in changes.values()]
    counts = actions.count("drop"), actions.count("relabel")
    if dry_run:
        return counts
    by_row = [changes.get(example_id) for example_id in ids]
    try:
        if is_image_folder(train):
            replacements = _moved_images(train, name, by_row)
        else:
            replacements = _rewritten(train, name, by_row, spec.label, data.classes, form)
            if changed_files := [file for file in files if content_digest(file) != before[file]]:
                raise InputError(f"{changed_files[0]} was changed while it was read: apply the patch again")
        carry_out(train, Application(name, tuple(replacements), at=at), note)
    except BaseException as error:
        undo(train)
        if isinstance(error, UNREADABLE):
            why = " ".join(str(error).split())
            raise InputError(f"{train} cannot be patched ({why}): nothing was changed") from error
        raise
    return counts


def changed_labels(data: Dataset, patch: pa.Table) -> dict[str, str]:
    """The rows of a patch whose label has changed since they were judged.

    Returns:
        ``is <new>, was <old>`` by example id.
    """
    labels = dict(zip(data.train.ids.tolist(), texts(data.train.labels, data.classes), strict=True))
    changed = {}
    for row in patch.to_pylist():
        judged = row.get("label")
        current = labels.get(row["example_id"])
        if None not in (judged, current) and judged != current:
            changed[row["example_id"]] = f"is {current}, was {judged}"
    return changed


def patched(data: Dataset, patches: Iterable[pa.Table]) -> Dataset:
    """The data with patches applied in memory. Rows that are not in the data are ignored, as dropped earlier.

    Args:
        data: the unpatched data.
        patches: tables as for ``apply_patch``, in the order in which they were accepted.
    """
    train = data.train
    for patch in patches:
        train = with_patch(train, patch, data.classes)
    return replace(data, train=train)


def with_patch(rows: Examples, patch: pa.Table, classes: tuple[str, ...]) -> Examples:
    """Rows without those that a patch drops, and with new labels for those that it relabels.

    Args:
        rows: the rows.
        patch: as for ``apply_patch``. Of several suggestions for one row the last counts.
        classes: class names; empty for numbers.
    """
    changes = {row["example_id"]: row for row in patch.to_pylist()}
    by_row = [changes.get(example_id) for example_id in rows.ids.tolist()]
    new = {at: row["suggested_label"] for at, row in enumerate(by_row) if row and row["action"] == "relabel"}
    kept = torch.tensor([row is None or row["action"] != "drop" for row in by_row])
    return replace(rows, labels=relabelled(rows.labels, new, classes))[kept]


@dataclass(frozen=True)
class Reverted:
    """How a patch was reverted."""

    exactly: bool
    """Whether the data are byte for byte what they were; if not, somebody changed them after the patch."""
    left: tuple[str, ...] = ()
    """The patch's rows that were changed since and are left alone."""


def revert_patch(spec: UserData, folder: Path, name: str) -> Reverted:
    """Restore the training data to their state before ``apply_patch``, byte for byte.

    What was added or changed after it is kept: in a table that was changed since, dropped rows are put at the end, and
    relabelled rows get their former label.

    Raises:
        InputError: the patch is not applied; another patch was applied after it; or the data cannot be restored
            without loss. Nothing is changed then.
    """
    train = folder / spec.train
    undo(train)
    applied = applied_patches(spec, folder)
    if name not in applied:
        move = f"to revert what is applied last: repair patch revert {applied[-1]}" if applied else "nothing is applied"
        raise InputError(f"the patch {name} is not applied to {train}: {move}")
    if (last := applied[-1]) != name:
        raise InputError(f"the patch {last} was applied to {train} after {name}: revert that one first")
    [application] = [each for each in read_record(train).applied if each.patch == name]
    if is_image_folder(train):
        _require_room(train, application)
        take_back(train, application)
        return Reverted(exactly=True)
    kept = [each for each in application.files if (train.parent / each.kept).exists()]
    if len(kept) < len(application.files):
        missing = next(each.kept for each in application.files if each not in kept)
        raise InputError(f"{train.parent / missing} is gone, so the patch {name} cannot be reverted: copy it there")
    merged = [each for each in kept if content_digest(train.parent / each.file) not in (None, each.before, each.after)]
    try:
        left = [row for each in merged for row in _merge(train, each, spec)]
        files = [_instead(train.parent, each) if each in merged else each for each in application.files]
        take_back(train, Application(name, tuple(files), tuple(each.kept for each in merged)))
    except UNREADABLE as error:
        why = " ".join(str(error).split())
        raise InputError(f"{train} cannot be restored ({why}): run the command again") from error
    return Reverted(exactly=not merged, left=tuple(left))


def _merge(train: Path, replaced: Replacement, spec: UserData) -> list[str]:
    """Write the current file without the patch as ``new_file``; returns the rows that are left alone."""
    file, changes = train.parent / replaced.file, _as_changes(replaced)
    with TemporaryDirectory() as folder:
        original = Path(folder, file.name)  # a reader knows a CSV file by its suffix
        shutil.copyfile(train.parent / replaced.kept, original)
        places = _places(train, spec.label)
        left = unpatch(original, changes, file, spec.label, spec.id, new_file(file), places)
    shutil.copymode(file, new_file(file))
    flush(new_file(file))
    return left


def _as_changes(replaced: Replacement) -> dict[int, Change]:
    return {row: {"action": action, "suggested_label": name} for row, (action, name) in replaced.changes.items()}


def _instead(root: Path, replaced: Replacement) -> Replacement:
    """To put the merged file back instead of the kept original."""
    file = root / replaced.file
    merged, current = content_digest(new_file(file)), content_digest(file)
    assert merged is not None, "it was just written"
    return replace(replaced, kept=str(new_file(file).relative_to(root)), before=merged, after=current)


def applied_patches(spec: UserData, folder: Path) -> list[str]:
    """The names of the patches that are applied to the training data, in the order in which they were applied.

    A patch whose kept originals were deleted cannot be reverted, and does not count.
    """
    train = folder / spec.train
    return [
        each.patch
        for each in read_record(train).applied
        if any((train.parent / replaced.kept).exists() for replaced in each.files)
    ]


# Tables.


def _rewritten(
    train: Path, name: str, by_row: Sequence[Change], label: str, classes: tuple[str, ...], form: LabelForm
) -> list[Replacement]:
    """Write the new content of each file that changes, beside it."""
    kept, start, replacements = folder_of_originals(train, name), 0, list[Replacement]()
    places = _places(train, label)
    for file in parquet_files(train):
        count = len(read_table(file)) if is_text(file) else pq.read_metadata(file).num_rows
        changes = by_row[start : start + count]
        start += count
        if not any(changes):
            continue
        if form is LabelForm.TAGS:
            given = labels_of(file, label, places).parts(form)
            changes = [_of_every_token(change, tags) for change, tags in zip(changes, given, strict=True)]
        new = new_file(file)
        rewrite(file, changes, label, new, places)
        _require_written(
            file,
            changes,
            partial(_values, label=label, classes=classes, places=places, form=form),
            partial(_value_of, classes=classes, form=form),
        )
        shutil.copymode(file, new)
        flush(new)
        before, after = content_digest(file), content_digest(new)
        assert before is not None, "it was just read"
        original = kept / file.name if train.is_dir() else kept
        by_place = {
            row: (change["action"], change["suggested_label"])
            for row, change in enumerate(changes)
            if change is not None
        }
        root = train.parent
        paths = str(file.relative_to(root)), str(original.relative_to(root))
        replacements.append(Replacement(*paths, before, after, by_place))
    return replacements


def _of_every_token(change: Change, given: Sequence[str]) -> Change:
    """The change with a class for every token of the row: those that no model reads keep theirs.

    Args:
        change: with a class for each token that has one and that a model reads.
        given: the classes in the file.
    """
    if change is None or change["action"] != "relabel":
        return change
    new, tags = change["suggested_label"].split(), list(given)
    for at in [at for at, tag in enumerate(given) if tag != IGNORED][: len(new)]:
        tags[at] = new.pop(0)
    return {**change, "suggested_label": " ".join(tags)}


def _places(train: Path, label: str) -> tuple[str, ...] | None:
    """The class names that integer labels index, from the metadata of the first file, as they are read."""
    return None if is_text(train) else class_places(schema(train).empty_table(), label)


def _require_written(
    file: Path, changes: Sequence[Change], values: Callable[[Path], list[Any]], value_of: Callable[[str], Any]
) -> None:
    """Check that the new file, read anew, has just the labels that the patch says."""
    expected = [
        value_of(change["suggested_label"]) if change and change["action"] == "relabel" else value
        for value, change in zip(values(file), changes, strict=True)
        if change is None or change["action"] != "drop"
    ]
    try:
        written = values(new_file(file))
    except InputError:
        written = None
    if written != expected:
        raise InputError(
            f"{file} cannot be patched: its labels would be read as other classes; nothing was changed; save it as "
            "Parquet"
        )


def _values(
    file: Path, label: str, classes: tuple[str, ...], places: tuple[str, ...] | None, form: LabelForm
) -> list[Any]:
    """What a file's labels say: numbers of classes, numbers, or those of several parts as they stand there."""
    labels = labels_of(file, label, places)
    if form in (LabelForm.SET, LabelForm.COMPLETION):
        return list(labels.values)
    if form is LabelForm.TAGS:
        return list(labels.parts(form))
    return (labels.numbers(classes, "training") if classes else labels.floats("training")).tolist()


def _value_of(text: str, classes: tuple[str, ...], form: LabelForm) -> Any:
    """What is to stand there in place of a label that is written so, in the form of ``_values``."""
    if form is LabelForm.TAGS:
        return text.split()
    return classes.index(text) if classes else float(text)


# Images.


def _moved_images(train: Path, name: str, by_row: Sequence[Change]) -> list[Replacement]:
    """Dropped images move to the originals, and relabelled ones to the folder of their class."""
    before, moves = folder_of_originals(train, name), dict[Path, Path]()
    for file, change in zip(image_files(train), by_row, strict=True):
        if change is not None:
            folder = train / change["suggested_label"] if change["action"] == "relabel" else before / file.parent.name
            target = folder / (file.name if change["action"] == "drop" else f"{file.parent.name}-{file.name}")
            if target.exists() or target in moves.values():
                raise InputError(f"{file} cannot become {target}, which is another image: rename one of them")
            moves[file] = target
    root = train.parent
    return [
        Replacement(str(file.relative_to(root)), str(target.relative_to(root)), content_digest(file) or "", None)
        for file, target in moves.items()
    ]


def _require_room(train: Path, application: Application) -> None:
    """Refuse to move images back over others, or to leave images of others among the originals."""
    root, before = train.parent, folder_of_originals(train, application.patch)
    for each in application.files:
        if (root / each.kept).exists() and content_digest(root / each.file) not in (None, each.before):
            raise InputError(
                f"{root / each.file} is another image than the one that the patch {application.patch} moved from "
                "there: rename it, then revert again"
            )
    ours = {root / each.kept for each in application.files}
    if strangers := [file for file in sorted(before.rglob("*")) if file.is_file() and file not in ours]:
        raise InputError(f"{strangers[0]} is an image that the patch did not put there: move it, then revert again")
