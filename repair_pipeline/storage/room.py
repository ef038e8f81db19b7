"""A place that cannot be written: a full disk, a folder without permission."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from repair_pipeline.errors import InputError, one_line

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_FAILING = {errno.EIO}
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,  # also of a full disk, where the file that its readers share cannot grow
}
_IN_TEXT = re.compile(r"\(os error (\d+)\)")
"""The number of an error, as safetensors tells it."""


class UnwritableError(InputError):
    """A place cannot be written. That is no fault of the case, so what is finished is kept."""


def unwritable(error: BaseException) -> UnwritableError | None:
    """What to tell a person about an error that a place has caused; None where it has another cause.

    Args:
        error: any error. Those that it was raised from count too.
    """
    for each in _chain(error):
        if isinstance(each, UnwritableError):
            return each
        number, why = _number(each), one_line(each)
        if number in _FULL:
            return UnwritableError(
                f"no room is left on the disk ({why}): make room in REPAIR_HOME and in the folder of temporary files, "
                "then run the same command again; what is finished is kept"
            )
        if number in _CLOSED:
            return UnwritableError(
                f"a place cannot be used ({why}): give yourself the right to write there, or set REPAIR_HOME; what is "
                "finished is kept"
            )
        if number in _FAILING:
            return UnwritableError(
                f"the disk is full, or fails ({why}): make room in REPAIR_HOME or look at the disk, then run the same "
                "command again; what is finished is kept"
            )
    return None


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin what would end badly on a full disk.

    Args:
        folder: where it is written.
        size: how much, in bytes.

    Raises:
        OSError: there is less room.
    """
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _chain(error: BaseException | None) -> Iterator[Exception]:
    seen = list[BaseException]()
    while isinstance(error, Exception) and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    if isinstance(error, sqlite3.OperationalError):
        return _OF_SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)  # the last byte is the primary code
    named = _IN_TEXT.search(str(error))
    return int(named[1]) if named else None
