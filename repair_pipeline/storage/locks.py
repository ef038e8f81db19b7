"""Locks between processes, and the scratch folder."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)


def scratch_folder() -> Path:
    """This user's folder on this machine for files that do not belong into ``home``. It is created if missing.

    Raises:
        InputError: another user has made it, or a link in its place.
    """
    folder = Path(tempfile.gettempdir()) / f"repair_pipeline-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    made = folder.lstat()  # not of what a link leads to: others may put one where everybody may write
    if made.st_uid != os.getuid():
        raise InputError(f"{folder} belongs to another user (uid {made.st_uid}): set TMPDIR to another folder")
    if not stat.S_ISDIR(made.st_mode):
        raise InputError(f"{folder} is no folder, but a link or a file: delete it, or set TMPDIR to another folder")
    return folder


@contextmanager
def locked(lock: Path, makes: Path) -> Iterator[None]:
    """Hold a lock while something is made. Another process waits, and then finds it finished.

    Args:
        lock: the lock file; it is deleted afterwards.
        makes: path of what is made, for the message of a process that waits.
    """
    # Everyone who may write into the folder may take the lock, because several users may share it.
    file = FileLock(lock, mode=0o666)
    try:
        file.acquire(timeout=0)
    except Timeout:
        log.warning("waiting: another process makes %s", makes)
        file.acquire()
    try:
        yield
    finally:
        # A process that waits sees that the file is gone and makes a new one. It may be deleted already.
        lock.unlink(missing_ok=True)
        file.release()


@contextmanager
def in_use(*folders: Path) -> Iterator[None]:
    """Keep others from removing folders that are worked in. As many processes as like may do so at once.

    Args:
        folders: those that do not exist are left out: nobody can remove them.
    """
    with ExitStack() as held:
        for folder in folders:
            with suppress(OSError):  # a file system without such locks: then ``unused`` cannot be sure either
                held.enter_context(_lock_of(folder, fcntl.LOCK_SH))
        yield


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Whether nobody works in a folder, and nobody begins to until the end of the block.

    Raises:
        InputError: the file system has no locks, so nobody can know.
    """
    with ExitStack() as held:
        try:
            held.enter_context(_lock_of(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise InputError(f"{folder} cannot be locked ({error}), so nothing is removed: use a local disk") from error
        yield True


@contextmanager
def _lock_of(folder: Path, kind: int) -> Iterator[None]:
    # The folder itself is locked, so that no lock file is left in it.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
