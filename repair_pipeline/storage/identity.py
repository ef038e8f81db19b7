"""Digests of file content, and records of what a result was made from.

Results are identified by content, not by paths or times.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from repair_pipeline.datasets.ids import file_digest
from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import write_bytes
from repair_pipeline.storage.locks import scratch_folder

_CLOCK_STEP = 1.0
"""Seconds within which a file may change twice without a change of its times."""
_TIMEOUT = 60.0
"""Seconds to wait for another process that writes digests."""


@dataclass(frozen=True)
class Digests:
    """Digests of file content, cached. A file is read again if its inode, size or times have changed.

    The times include the time of change (``ctime``), which users cannot set. So a file that was edited in place is read
    again even if its size and time of modification were restored.
    """

    kept: Path
    """The SQLite file of the cache."""

    def of(self, files: Mapping[str, Path]) -> str:
        """32 hex digits of the names and contents of files, independent of the folder.

        Args:
            files: paths by name; the name is usually that within the folder.

        Raises:
            InputError: a file cannot be read.
        """
        combined, digests = blake2b(digest_size=16), self.of_each(files.values())
        for name, file in sorted(files.items()):
            combined.update(name.encode() + b"\0" + bytes.fromhex(digests[file]))
        return combined.hexdigest()

    def of_each(self, files: Iterable[Path]) -> dict[Path, str]:
        """32 hex digits of the content of each file.

        Raises:
            InputError: a file cannot be read.
        """
        stamps = {file: _stamp(file) for file in files}
        cached = self._cached(stamps)
        read = {file: _read(file) for file in stamps if file not in cached}
        now = time.time()
        settled = [file for file in read if _stamp(file) == stamps[file] and now - file.stat().st_ctime > _CLOCK_STEP]
        if settled:
            self._store((str(file.absolute()), stamps[file], read[file]) for file in settled)
        return cached | read

    def _cached(self, stamps: Mapping[Path, str]) -> dict[Path, str]:
        with self._connection() as database:
            sql = "SELECT digest FROM digests WHERE path = ? AND stamp = ?"
            rows = {file: database.execute(sql, (str(file.absolute()), stamps[file])).fetchone() for file in stamps}
        return {file: row[0] for file, row in rows.items() if row}

    def _store(self, rows: Iterable[tuple[str, str, str]]) -> None:
        with self._connection() as database:
            database.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", rows)
            database.commit()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, or no room: not a damaged file
                raise
            self.kept.unlink(missing_ok=True)  # a damaged cache is made anew
            database = self._opened()
        with closing(database):
            yield database

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.kept, timeout=_TIMEOUT)
        database.execute("CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
        return database


def kept_digests() -> Digests:
    """The digest cache of this user on this machine. It is per machine because it compares inodes."""
    return Digests(scratch_folder() / "digests.sqlite")


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _read(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: OSError) -> InputError:
    return InputError(f"{file} cannot be read ({error.strerror}): check the path and its permissions")


# Records of what a result was made from.


@dataclass(frozen=True)
class Origin:
    """A record of what a result was made from. It is stored beside the result."""

    step: str
    version: int
    """Version of the step's code."""
    inputs: dict[str, str]
    """Digests of the user's files and code, by the key of the case that names them."""
    sources: dict[str, str]
    """Digests of the results that the step read, by their paths below ``home``."""
    digest: str | None = None
    """Digest of the result; None while it is being made."""


_ORIGIN = TypeAdapter(Origin)


def record_path(result: Path) -> Path:
    """Path of the record of a result."""
    return result.with_name(f".{result.name}.origin.json")


def write_origin(result: Path, origin: Origin) -> None:
    """Write the record of a result."""
    write_bytes(record_path(result), _ORIGIN.dump_json(origin, indent=1))


def read_origin(result: Path) -> Origin | None:
    """The record of a result; None if it has none or an invalid one. Early versions wrote no records."""
    try:
        return _ORIGIN.validate_json(record_path(result).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
