"""A data set patch, applied to the owner's training data and taken back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from repair_pipeline.datasets.labels import shown
from repair_pipeline.datasets.rewriting import Change, rewrite
from repair_pipeline.datasets.table_files import UNREADABLE, delimiter, parquet_files, read_table
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.datasets.user_tables import image_files, is_image_folder
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset


def apply_patch(spec: UserData, folder: Path, patch: pa.Table, name: str) -> tuple[int, int]:
    """Drop and relabel training rows, all of them or none; the originals are kept, as ``<train>.before-<name>``.

    Ids that are hashes count a repeated input's occurrences, so that where one of several equal rows is dropped those
    after it have other ids from then on.

    Args:
        patch: ``example_id``, ``action`` (drop, relabel) and ``suggested_label``, a class by name; and ``label``, the
            class that the row had when it was judged.

    Returns:
        How many rows were dropped, and how many relabelled.

    Raises:
        InputError: it is applied already, names a row that the data do not have, or one whose label has changed since
            it was judged; or the file cannot be changed. Nothing is changed then.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    if is_applied(spec, folder, name):
        raise InputError(f"{before} is there, so the patch {name} is applied already: revert it first")
    changes = {row["example_id"]: row for row in patch.to_pylist()}
    data = read(spec, folder)
    ids = data.train.ids.tolist()
    if strangers := changes.keys() - set(ids):
        raise InputError(
            f"{train} has no row {min(strangers)!r}, one of {len(strangers)} that the patch {name} names and the data "
            "lack: they have changed since, run the case again"
        )
    classes = {row["suggested_label"] for row in changes.values() if row["action"] == "relabel"}
    if unknown := sorted(classes - set(data.classes)):
        raise InputError(
            f"the patch {name} gives rows the class {unknown[0]!r}, the classes are {shown(data.classes)}: give one"
        )
    if changed := changed_labels(data, patch):
        raise InputError(
            f"{len(changed)} of {len(changes)} rows of the patch {name} have another label in {train} than when they "
            f"were judged ({shown(changed, 5)}): run the case again on the data as they are"
        )
    by_row = [changes.get(example_id) for example_id in ids]
    if is_image_folder(train):
        _move_images(train, before, by_row)
    else:
        _rewrite(train, before, by_row, spec.label)
    _note_order(spec, folder, name)
    actions = [row["action"] for row in changes.values()]
    return actions.count("drop"), actions.count("relabel")


def changed_labels(data: Dataset, patch: pa.Table) -> list[str]:
    """The rows of a patch whose label is no longer the one that was judged, each with both."""
    now = dict(zip(data.train.ids.tolist(), data.train.labels.tolist(), strict=True))
    changed = []
    for row in patch.to_pylist():
        judged = row.get("label")
        present = data.classes[now[row["example_id"]]] if row["example_id"] in now else None
        if None not in (judged, present) and judged != present:
            changed.append(f"{row['example_id']} is {present}, was {judged}")
    return changed


def patched(data: Dataset, patches: Iterable[pa.Table]) -> Dataset:
    """The data with rows dropped and relabelled as they are read; rows that the data lack were dropped before.

    Args:
        patches: as ``apply_patch`` takes them, in the order in which they were accepted.
    """
    train = data.train
    for patch in patches:
        changes = {row["example_id"]: row for row in patch.to_pylist()}
        said = [changes.get(example_id) for example_id in train.ids.tolist()]
        labels = [
            data.classes.index(change["suggested_label"]) if change and change["action"] == "relabel" else label
            for change, label in zip(said, train.labels.tolist(), strict=True)
        ]
        stays = torch.tensor([change is None or change["action"] != "drop" for change in said])
        train = replace(train, labels=torch.tensor(labels))[stays]
    return replace(data, train=train)


def revert_patch(spec: UserData, folder: Path, name: str) -> None:
    """Put the training data back as they were before ``apply_patch``, byte for byte.

    Raises:
        InputError: the patch is not applied, or another was applied after it.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    if not is_applied(spec, folder, name):
        raise InputError(f"{before} is not there, so the patch {name} is not applied: there is nothing to revert")
    last = list(applied_patches(spec, folder))[-1]
    if last != name:
        raise InputError(f"the patch {last} was applied to {train} after {name}: revert that one first")
    if is_image_folder(train):
        _move_back(train, before)
    elif train.is_dir():
        for file in parquet_files(before):
            _put_back(file, train / file.name)
        before.rmdir()
    else:
        _put_back(before, train)
    _note_order(spec, folder)


def is_applied(spec: UserData, folder: Path, name: str) -> bool:
    """Whether the training data are those that ``apply_patch`` has left."""
    return name in applied_patches(spec, folder)


def applied_patches(spec: UserData, folder: Path) -> dict[str, Path]:
    """The patches that are applied to the training data, by name and in the order in which they were applied.

    Returns:
        What each has kept of the data before it.
    """
    train, order = folder / spec.train, _order(spec, folder)
    head = _before(spec, folder, "").name
    kept = train.parent.iterdir() if train.parent.is_dir() else ()
    found = {path.name.removeprefix(head): path for path in kept if path.name.startswith(head)}
    listed = order.read_text(encoding="utf-8").splitlines() if order.is_file() else []
    at = {name: place for place, name in enumerate(listed)}
    # One that is not listed was applied before the list was kept, or its process was killed before it was.
    return dict(sorted(found.items(), key=lambda patch: at.get(patch[0], -1)))


def _note_order(spec: UserData, folder: Path, *last: str) -> None:
    """Write down in which order the patches that are applied were, with ``last`` at its end."""
    names = [name for name in applied_patches(spec, folder) if name not in last]
    if names or last:
        _order(spec, folder).write_text("\n".join([*names, *last]) + "\n", encoding="utf-8")
    else:
        _order(spec, folder).unlink(missing_ok=True)


def _order(spec: UserData, folder: Path) -> Path:
    train = folder / spec.train
    return train.with_name(f".{train.name}.patches")


def _put_back(original: Path, file: Path) -> None:
    _move(original, file)
    os.utime(file)  # or what was made of the patched data would pass for newer than it


def _move(source: Path, target: Path) -> None:
    """Rename a file; across file systems it is copied first, whole or not at all."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
    source.unlink(missing_ok=True)  # two names of one file stay two names


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}-copied")
    try:
        shutil.copy2(source, beside)
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


_JOURNAL = "journal.json"


def _before(spec: UserData, folder: Path, name: str) -> Path:
    train = folder / spec.train
    return train.with_name(f"{train.name}.before-{name}")


def _rewrite(train: Path, before: Path, by_row: list[Change], label: str) -> None:
    """Write all changed files beside the originals, then put them in their places: on any fault none of them."""
    files = [train] if train.is_file() else parquet_files(train)
    kept = {file: before if train.is_file() else before / file.name for file in files}
    beside = {file: file.with_name(f".{file.name}-patched") for file in files}
    replaced = list[Path]()
    try:
        start = 0
        for file in files:
            count = len(read_table(file)) if delimiter(file) else pq.read_metadata(file).num_rows
            rewrite(file, by_row[start : start + count], label, beside[file])
            shutil.copymode(file, beside[file])
            with open(beside[file], "rb") as written:
                os.fsync(written.fileno())
            start += count
        if train.is_dir():
            before.mkdir()
        for file, original in kept.items():
            _keep(file, original)
        for file in files:
            os.replace(beside[file], file)
            replaced.append(file)
    except BaseException as error:
        for file in replaced:
            _move(kept[file], file)
        for file in files:
            beside[file].unlink(missing_ok=True)
            kept[file].unlink(missing_ok=True)
        if before.is_dir():
            before.rmdir()
        if isinstance(error, UNREADABLE):
            why = " ".join(str(error).split())
            raise InputError(f"{train} cannot be patched ({why}); it is as it was") from error
        raise


def _keep(file: Path, original: Path) -> None:
    """The same file under a second name, or a copy where the file system knows no second names."""
    try:
        os.link(file, original)
    except OSError:
        _copy(file, original)


def _move_images(train: Path, before: Path, by_row: list[Change]) -> None:
    """Move dropped images into ``before`` and relabelled ones to their class; on any fault none of them."""
    moves = dict[Path, Path]()
    for file, change in zip(image_files(train), by_row, strict=True):
        if change is not None:
            where = train / change["suggested_label"] if change["action"] == "relabel" else before / file.parent.name
            target = where / (file.name if change["action"] == "drop" else f"{file.parent.name}-{file.name}")
            if target.exists() or target in moves.values():
                raise InputError(f"{file} cannot become {target}, which another image is: rename one of them")
            moves[file] = target
    root = train.parent
    said = [{"from": str(a.relative_to(root)), "to": str(b.relative_to(root))} for a, b in moves.items()]
    beside = before.with_name(f".{before.name}")
    try:
        beside.mkdir(exist_ok=True)
        (beside / _JOURNAL).write_text(json.dumps(said), encoding="utf-8")
        os.replace(beside, before)  # with its journal, or not at all
        for source, target in moves.items():
            target.parent.mkdir(exist_ok=True)
            _move(source, target)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if before.is_dir():
            _move_back(train, before)
        if isinstance(error, OSError):
            why = " ".join(str(error).split())
            raise InputError(f"{train} cannot be patched ({why}); it is as it was") from error
        raise


def _move_back(train: Path, before: Path) -> None:
    """Every image to where it was, those that were not moved or are back already left alone."""
    for moved in json.loads((before / _JOURNAL).read_text(encoding="utf-8")):
        source, target = train.parent / moved["to"], train.parent / moved["from"]
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            _move(source, target)
    for folder in (path for path in before.iterdir() if path.is_dir()):
        if any(folder.iterdir()):
            raise InputError(f"{folder} holds images that the patch did not put there: move them, then revert again")
        folder.rmdir()
    (before / _JOURNAL).unlink()
    before.rmdir()
