"""Locks between processes, and the folder of what lies in no home."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)


def scratch_folder() -> Path:
    """This user's folder on this machine for what would be left lying in the home.

    Raises:
        InputError: somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"repair_pipeline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder} belongs to another user (uid {folder.stat().st_uid}): set TMPDIR to another folder")
    return folder


@contextmanager
def locked(lock: Path, makes: Path) -> Iterator[None]:
    """Held while something is made: another process waits, and finds it finished then.

    Args:
        lock: the file that is locked; it is gone afterwards.
        makes: what is made, for the message of who waits.
    """
    # Whoever may write into the folder may take the lock: several users may share it.
    file = FileLock(lock, mode=0o666)
    try:
        file.acquire(timeout=0)
    except Timeout:
        log.warning("waiting: another process makes %s", makes)
        file.acquire()
    try:
        yield
    finally:
        # Who waits for it sees that it has gone, and takes a new one. Whoever cleans up may have been first.
        lock.unlink(missing_ok=True)
        file.release()
