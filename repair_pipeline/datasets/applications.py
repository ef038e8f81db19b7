"""Applying a patch to training files, and undoing it, so that a process that is killed leaves nothing half done.

The record, one file beside the training data that is written whole, holds the patches that are applied and the one that
is under way, with every file that it replaces. Files are replaced after the record says so, and before it says that all
is done. Whoever finds a patch under way undoes it: an application that was cut off is taken back, and a reversion is
completed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from repair_pipeline.datasets.ids import file_digest
from repair_pipeline.datasets.table_files import is_text
from repair_pipeline.errors import InputError


@dataclass(frozen=True)
class Replacement:
    """A file that a patch replaces or moves. Paths are relative to the folder that holds the training data."""

    file: str
    kept: str
    """The path of the original while the patch is applied."""
    before: str
    """Digest of the original."""
    after: str | None
    """Digest of the new file; None if the file is only moved to ``kept``."""
    changes: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    """For rows of a table, by position in the original: the action and the new class."""


@dataclass(frozen=True)
class Application:
    """A patch and the files that it replaces."""

    patch: str
    files: tuple[Replacement, ...]
    spent: tuple[str, ...] = ()
    """Kept originals that are deleted when it is undone, because a file that holds more is put back instead."""
    at: datetime | None = None
    """When it was begun; None for one that was applied by an earlier version, and for what is put back."""


@dataclass(frozen=True)
class Record:
    """The patches of a training set."""

    applied: tuple[Application, ...] = ()
    """In the order in which they were applied."""
    under_way: Application | None = None
    """The one that is being applied or reverted, or was when its process was killed."""


_RECORD = TypeAdapter(Record)


def record_path(train: Path) -> Path:
    """The path of the record of a training set."""
    return train.with_name(f".{train.name}.patches")


def read_record(train: Path) -> Record:
    """The record of a training set; empty if there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = record_path(train)
    try:
        return _RECORD.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Record()
    except ValidationError as error:
        raise InputError(
            f"{path}, the record of the patches of {train}, is damaged: delete it; the originals are in "
            f"{train.name}.before-*"
        ) from error


def folder_of_originals(train: Path, patch: str) -> Path:
    """The path of the kept original of a file, or of the folder of originals."""
    return train.with_name(f"{train.name}.before-{patch}")


def new_file(file: Path) -> Path:
    """The path at which the new content of a file is written. No reader takes it for a part of the data."""
    return file.with_name(f".patched-{file.name}" + ("" if is_text(file) else ".new"))


def content_digest(file: Path) -> str | None:
    """``file_digest`` of a file; None if it does not exist."""
    return file_digest(file) if file.exists() else None


def flush(file: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def carry_out(train: Path, application: Application, note: Callable[[], None]) -> None:
    """Replace and move files. If it raises, the patch is under way, and ``undo`` puts all of them back.

    Args:
        train: the training data. The new content of each file that is replaced is at ``new_file``.
        application: what is replaced and moved.
        note: called when the files are replaced, before that is final.
    """
    applied, root = read_record(train).applied, train.parent
    _write(train, Record(applied, application))
    for each in application.files:
        if each.after is not None:
            _keep(root / each.file, root / each.kept)
    for each in application.files:
        if each.after is None:
            _move(root / each.file, root / each.kept)
        else:
            os.replace(new_file(root / each.file), root / each.file)
    note()
    _write(train, Record((*applied, application)))


def take_back(train: Path, application: Application) -> None:
    """Undo an applied patch.

    Args:
        train: the training data.
        application: the applied patch, or what is put back instead of its originals.
    """
    applied = tuple(other for other in read_record(train).applied if other.patch != application.patch)
    _write(train, Record(applied, application))
    undo(train)


def undo(train: Path) -> Application | None:
    """Put back every file of the patch that is under way. May be called again after it was cut off.

    Returns:
        The patch; None if none is under way.

    Raises:
        InputError: a file was changed since, and nothing is put back; or a file cannot be put back.
    """
    record, root = read_record(train), train.parent
    _written(record_path(train)).unlink(missing_ok=True)
    if record.under_way is None:
        for written in train.glob(".patched-*.new") if train.is_dir() else [new_file(train)]:
            written.unlink(missing_ok=True)  # its process was killed before the record named it
        return None
    for each in record.under_way.files:
        file, kept = root / each.file, root / each.kept
        if kept.exists() and content_digest(file) not in (None, each.before, each.after):
            raise InputError(
                f"{file} was changed after the patch {record.under_way.patch} was cut off: to keep it as it is, delete "
                f"{kept}; to get the original back, move {kept} over it; then run the command again"
            )
    try:
        for each in record.under_way.files:
            file, kept = root / each.file, root / each.kept
            if kept.exists():
                _move(kept, file)
            for written in (new_file(file), _written(file), _written(kept)):
                written.unlink(missing_ok=True)
        for kept_name in record.under_way.spent:
            (root / kept_name).unlink(missing_ok=True)
        _remove_empty(folder_of_originals(train, record.under_way.patch))
        _write(train, Record(record.applied))
    except OSError as error:
        why = " ".join(str(error).split())
        raise InputError(
            f"the patch {record.under_way.patch} of {train} is half applied and cannot be undone ({why}): mend that, "
            "then run the command again"
        ) from error
    return record.under_way


def _remove_empty(folder: Path) -> None:
    if folder.is_dir():
        for inner in folder.iterdir():
            _remove_empty(inner)
        if not any(folder.iterdir()):
            folder.rmdir()


def _write(train: Path, record: Record) -> None:
    path = record_path(train)
    if record == Record():
        path.unlink(missing_ok=True)
        return
    temporary = _written(path)
    try:
        temporary.write_bytes(_RECORD.dump_json(record))
        flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _keep(file: Path, original: Path) -> None:
    """Hard-link the file as ``original``, or copy it if the file system has no hard links."""
    original.parent.mkdir(exist_ok=True)
    try:
        os.link(file, original)
    except OSError:
        _copy(file, original)


def _move(source: Path, target: Path) -> None:
    """Rename a file; across file systems copy it, whole or not at all, and delete the source."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
    source.unlink(missing_ok=True)  # os.replace keeps both names if they are hard links to one file


def _written(path: Path) -> Path:
    """Where a file is written before it is renamed to ``path``. No reader takes it for a part of the data."""
    return path.with_name(f".{path.name.removeprefix('.')}-written")


def _copy(source: Path, target: Path) -> None:
    temporary = _written(target)
    try:
        shutil.copy2(source, temporary)
        flush(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
