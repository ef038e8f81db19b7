"""Applying a data set patch to the user's training data, and reverting it."""

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


def require_unapplied(spec: UserData, folder: Path, name: str) -> None:
    """Refuse a patch that is applied to the training data.

    Raises:
        InputError: the patch is applied.
    """
    if is_applied(spec, folder, name):
        raise InputError(
            f"{_before(spec, folder, name)} exists, so the patch {name} is already applied: revert it first"
        )


def apply_patch(spec: UserData, folder: Path, patch: pa.Table, name: str, dry_run: bool = False) -> tuple[int, int]:
    """Drop and relabel training rows, all or none; the originals are kept as ``<train>.before-<name>``.

    Hash ids number the duplicates of an input, so dropping one of several equal rows changes the ids of the later ones.

    Args:
        spec: the user's data.
        folder: what the paths in ``spec`` are relative to.
        patch: ``example_id``, ``action`` (drop, relabel), ``suggested_label`` (a class name) and ``label``, the class
            that the row had when it was judged.
        name: the patch's name.
        dry_run: whether to check the patch and change nothing.

    Returns:
        The numbers of rows dropped and relabelled.

    Raises:
        InputError: the patch is already applied; it names an unknown row or class, or a row whose label has changed
            since it was judged; or the file cannot be changed. Nothing is changed then.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    require_unapplied(spec, folder, name)
    changes = {row["example_id"]: row for row in patch.to_pylist()}
    data = read(spec, folder)
    ids = data.train.ids.tolist()
    if missing := changes.keys() - set(ids):
        raise InputError(
            f"{train} has no row {min(missing)!r}, one of {len(missing)} rows of the patch {name} that are missing: "
            "the data have changed since the patch was made, run the case again"
        )
    classes = {row["suggested_label"] for row in changes.values() if row["action"] == "relabel"}
    if unknown := sorted(classes - set(data.classes)):
        raise InputError(
            f"the patch {name} gives rows the class {unknown[0]!r}, but the classes are {shown(data.classes)}: "
            "use one of them"
        )
    if changed := changed_labels(data, patch):
        raise InputError(
            f"{len(changed)} of {len(changes)} rows of the patch {name} have a different label in {train} than when "
            f"they were judged ({shown(changed, 5)}): run the case again on the current data"
        )
    actions = [row["action"] for row in changes.values()]
    counts = actions.count("drop"), actions.count("relabel")
    if dry_run:
        return counts
    by_row = [changes.get(example_id) for example_id in ids]
    if is_image_folder(train):
        _move_images(train, before, by_row)
    else:
        _rewrite(train, before, by_row, spec.label)
    _note_order(spec, folder, name)
    return counts


def changed_labels(data: Dataset, patch: pa.Table) -> list[str]:
    """The rows of a patch whose label has changed since they were judged, as ``<id> is <new>, was <old>``."""
    labels = dict(zip(data.train.ids.tolist(), data.train.labels.tolist(), strict=True))
    changed = []
    for row in patch.to_pylist():
        judged = row.get("label")
        current = data.classes[labels[row["example_id"]]] if row["example_id"] in labels else None
        if None not in (judged, current) and judged != current:
            changed.append(f"{row['example_id']} is {current}, was {judged}")
    return changed


def patched(data: Dataset, patches: Iterable[pa.Table]) -> Dataset:
    """The data with patches applied in memory. Rows that are not in the data are ignored, as dropped earlier.

    Args:
        data: the unpatched data.
        patches: tables as for ``apply_patch``, in the order in which they were accepted.
    """
    train = data.train
    for patch in patches:
        changes = {row["example_id"]: row for row in patch.to_pylist()}
        by_row = [changes.get(example_id) for example_id in train.ids.tolist()]
        labels = [
            data.classes.index(change["suggested_label"]) if change and change["action"] == "relabel" else label
            for change, label in zip(by_row, train.labels.tolist(), strict=True)
        ]
        kept = torch.tensor([change is None or change["action"] != "drop" for change in by_row])
        train = replace(train, labels=torch.tensor(labels))[kept]
    return replace(data, train=train)


def revert_patch(spec: UserData, folder: Path, name: str) -> None:
    """Restore the training data to their state before ``apply_patch``, byte for byte.

    Raises:
        InputError: the patch is not applied, or another patch was applied after it.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    applied = list(applied_patches(spec, folder))
    if name not in applied:
        move = f"to revert what is applied last: repair patch revert {applied[-1]}" if applied else "nothing is applied"
        raise InputError(f"{before} does not exist, so the patch {name} is not applied: {move}")
    if (last := applied[-1]) != name:
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
    """Whether the patch is applied to the training data."""
    return name in applied_patches(spec, folder)


def applied_patches(spec: UserData, folder: Path) -> dict[str, Path]:
    """The patches that are applied to the training data, in the order in which they were applied.

    Returns:
        For each patch name, the path of the kept originals.
    """
    train, order = folder / spec.train, _order(spec, folder)
    prefix = _before(spec, folder, "").name
    siblings = train.parent.iterdir() if train.parent.is_dir() else ()
    originals = {path.name.removeprefix(prefix): path for path in siblings if path.name.startswith(prefix)}
    listed = order.read_text(encoding="utf-8").splitlines() if order.is_file() else []
    position = {name: place for place, name in enumerate(listed)}
    # A patch that is not listed was applied before such lists existed, or its process was killed before writing it.
    return dict(sorted(originals.items(), key=lambda patch: position.get(patch[0], -1)))


def _note_order(spec: UserData, folder: Path, *last: str) -> None:
    """Record the order in which the current patches were applied, with ``last`` at the end."""
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
    os.utime(file)  # else results of the patched data would look newer than this file


def _move(source: Path, target: Path) -> None:
    """Rename a file; across file systems copy it, whole or not at all, and delete the source."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
    source.unlink(missing_ok=True)  # os.replace keeps both names if they are hard links to one file


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}-copied")
    try:
        shutil.copy2(source, temporary)
        with open(temporary, "rb") as copied:
            os.fsync(copied.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


_JOURNAL = "journal.json"


def _before(spec: UserData, folder: Path, name: str) -> Path:
    train = folder / spec.train
    return train.with_name(f"{train.name}.before-{name}")


def _rewrite(train: Path, before: Path, by_row: list[Change], label: str) -> None:
    """Write all changed files next to the originals, then move them into place; on any error restore all of them."""
    files = [train] if train.is_file() else parquet_files(train)
    originals = {file: before if train.is_file() else before / file.name for file in files}
    temporary = {file: file.with_name(f".{file.name}-patched") for file in files}
    replaced = list[Path]()
    try:
        start = 0
        for file in files:
            count = len(read_table(file)) if delimiter(file) else pq.read_metadata(file).num_rows
            rewrite(file, by_row[start : start + count], label, temporary[file])
            shutil.copymode(file, temporary[file])
            with open(temporary[file], "rb") as written:
                os.fsync(written.fileno())
            start += count
        if train.is_dir():
            before.mkdir()
        for file, original in originals.items():
            _keep(file, original)
        for file in files:
            os.replace(temporary[file], file)
            replaced.append(file)
    except BaseException as error:
        for file in replaced:
            _move(originals[file], file)
        for file in files:
            temporary[file].unlink(missing_ok=True)
            originals[file].unlink(missing_ok=True)
        if before.is_dir():
            before.rmdir()
        if isinstance(error, UNREADABLE):
            why = " ".join(str(error).split())
            raise InputError(f"{train} cannot be patched ({why}): nothing was changed") from error
        raise


def _keep(file: Path, original: Path) -> None:
    """Hard-link the file as ``original``, or copy it if the file system has no hard links."""
    try:
        os.link(file, original)
    except OSError:
        _copy(file, original)


def _move_images(train: Path, before: Path, by_row: list[Change]) -> None:
    """Move dropped images into ``before`` and relabelled ones to their class folder; on any error undo all moves."""
    moves = dict[Path, Path]()
    for file, change in zip(image_files(train), by_row, strict=True):
        if change is not None:
            folder = train / change["suggested_label"] if change["action"] == "relabel" else before / file.parent.name
            target = folder / (file.name if change["action"] == "drop" else f"{file.parent.name}-{file.name}")
            if target.exists() or target in moves.values():
                raise InputError(f"{file} cannot become {target}, which is another image: rename one of them")
            moves[file] = target
    root = train.parent
    journal = [{"from": str(a.relative_to(root)), "to": str(b.relative_to(root))} for a, b in moves.items()]
    temporary = before.with_name(f".{before.name}")
    try:
        temporary.mkdir(exist_ok=True)
        (temporary / _JOURNAL).write_text(json.dumps(journal), encoding="utf-8")
        os.replace(temporary, before)  # with its journal, or not at all
        for source, target in moves.items():
            target.parent.mkdir(exist_ok=True)
            _move(source, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if before.is_dir():
            _move_back(train, before)
        if isinstance(error, OSError):
            why = " ".join(str(error).split())
            raise InputError(f"{train} cannot be patched ({why}): nothing was changed") from error
        raise


def _move_back(train: Path, before: Path) -> None:
    """Move every image back; images that were not moved, or are already back, are skipped."""
    for moved in json.loads((before / _JOURNAL).read_text(encoding="utf-8")):
        source, target = train.parent / moved["to"], train.parent / moved["from"]
        if source.exists():
            target.parent.mkdir(exist_ok=True)
            _move(source, target)
    for folder in (path for path in before.iterdir() if path.is_dir()):
        if any(folder.iterdir()):
            raise InputError(f"{folder} has images that the patch did not put there: move them, then revert again")
        folder.rmdir()
    (before / _JOURNAL).unlink()
    before.rmdir()
