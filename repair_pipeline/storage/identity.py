"""What files hold, in a few digits: results are known by it, not by where their sources lie or when they changed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import write_bytes
from repair_pipeline.storage.locks import scratch_folder

_JUST_NOW = 1.0
"""Seconds in which a file may change twice without its times saying so."""
_BUSY = 60.0
"""Seconds to wait for another process that writes down digests."""


@dataclass(frozen=True)
class Digests:
    """Digests of files' content. A file is read once, and again where its inode, size or times are other than then.

    Its time of change (``ctime``) is among them, which nobody can set: a file that was edited in place, and was given
    its old size and time of modification, is read again.
    """

    kept: Path
    """The SQLite file that keeps them."""

    def of(self, files: Mapping[str, Path]) -> str:
        """32 hex digits of what files hold, and of what they are called beside each other, wherever they lie.

        Args:
            files: each by the name that it has in its folder.

        Raises:
            InputError: one cannot be read.
        """
        whole, each = blake2b(digest_size=16), self.of_each(files.values())
        for name, file in sorted(files.items()):
            whole.update(name.encode() + b"\0" + bytes.fromhex(each[file]))
        return whole.hexdigest()

    def of_each(self, files: Iterable[Path]) -> dict[Path, str]:
        """32 hex digits of the bytes of every file.

        Raises:
            InputError: one cannot be read.
        """
        stamps = {file: _stamp(file) for file in files}
        found = self._known(stamps)
        read = {file: _read(file) for file in stamps if file not in found}
        now = time.time()
        settled = [file for file in read if _stamp(file) == stamps[file] and now - file.stat().st_ctime > _JUST_NOW]
        if settled:
            self._keep((str(file.absolute()), stamps[file], read[file]) for file in settled)
        return found | read

    def _known(self, stamps: Mapping[Path, str]) -> dict[Path, str]:
        with self._opened() as database:
            asked = "SELECT digest FROM digests WHERE path = ? AND stamp = ?"
            rows = {file: database.execute(asked, (str(file.absolute()), stamps[file])).fetchone() for file in stamps}
        return {file: row[0] for file, row in rows.items() if row}

    def _keep(self, rows: Iterable[tuple[str, str, str]]) -> None:
        with self._opened() as database:
            database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)
            database.commit()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.kept, timeout=_BUSY)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
            yield database


def kept_digests() -> Digests:
    """The digests of this user on this machine, whose inodes they are told apart by."""
    return Digests(scratch_folder() / "digests.sqlite")


def _stamp(file: Path) -> str:
    try:
        found = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return file_digest(opened, lambda: blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"{file} cannot be read ({error.strerror}): give a file that can")


# What a result was made from.


@dataclass(frozen=True)
class Origin:
    """What a result was made from: a record beside it."""

    step: str
    version: int
    """Of the step's code."""
    inputs: dict[str, str]
    """Digests of the owner's files and code, by the key of the case that names them."""
    sources: dict[str, str]
    """Digests of other results that were there, by their paths below the home."""
    digest: str | None = None
    """What was made, its own digest; None: it is being made."""


_ORIGIN = TypeAdapter(Origin)


def record_path(result: Path) -> Path:
    """Where the record of a result lies."""
    return result.with_name(f".{result.name}.origin.json")


def write_origin(result: Path, origin: Origin) -> None:
    """Write down what a result was made from."""
    write_bytes(record_path(result), _ORIGIN.dump_json(origin, indent=1))


def read_origin(result: Path) -> Origin | None:
    """What a result was made from; None where nothing says so, as earlier versions wrote no record."""
    try:
        return _ORIGIN.validate_json(record_path(result).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
