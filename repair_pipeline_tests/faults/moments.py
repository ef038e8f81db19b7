"""The moments at which a command changes something: a fault can be made at any of them."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy

from repair_pipeline.pipeline.step import Step

_CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "shutil.copyfile"}


class Moments:
    """Counts, in one process, every change to a file in a folder and every SQL statement, and acts at one of them.

    Args:
        folder: the folder.
        number: the moment to act at; None: at none.
        act: what is done there.
        step: acts only within this step of a run; the moments of a step have numbers of their own.
    """

    def __init__(self, folder: Path, number: int | None, act: Callable[[], object], step: str | None = None) -> None:
        self._folder, self._number, self._act, self._step = str(folder), number, act, step
        self.seen: dict[str, int] = {}
        """How many moments each step had; those outside of steps have the name ``""``."""
        self._now, self._all = "", 0

    def begin(self) -> None:
        """Begin to count in this process. It ends with the process."""
        sys.addaudithook(self._file)
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", lambda *_: self._moment())
        real = Step.run

        def run(step: Step, *given: Any, **named: Any) -> list[Path]:
            self._now = step.name
            try:
                return real(step, *given, **named)
            finally:
                self._now = ""

        Step.run = run  # type: ignore[method-assign]

    def _file(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = arguments
            if not ((isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event not in _CHANGES:
            return
        if str(arguments[0]).startswith(self._folder):
            self._moment()

    def _moment(self) -> None:
        count = self.seen[self._now] = self.seen.get(self._now, 0) + 1
        self._all += 1
        if self._number == (self._all if self._step is None else count if self._step == self._now else None):
            self._act()


def kill() -> None:
    """End this process at once, as if its machine had failed."""
    os.kill(os.getpid(), signal.SIGKILL)


def terminate() -> None:
    """Ask this process to end, as ``kill`` and service managers do."""
    os.kill(os.getpid(), signal.SIGTERM)


def no_room() -> None:
    """Refuse as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
