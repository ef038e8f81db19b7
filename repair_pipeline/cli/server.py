"""A web server as a process group, started, awaited and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from repair_pipeline.errors import InputError

HOST = "127.0.0.1"
_START_SECONDS, _STOP_SECONDS = 240, 30


@dataclass(frozen=True)
class Server:
    """A web server, as the process group that it and its children are."""

    name: str
    command: list[str]
    port: int
    health: str
    """A path that answers 200 once the pages can be opened."""
    page: str
    """The path of the page to begin with."""
    log: Path

    @contextmanager
    def running(self, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start it, and leave no process of it behind."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                self.command, env=dict(environment), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield process
        finally:
            _stop(process)

    def wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        """Return once the pages can be opened.

        Raises:
            InputError: it ended, or it took too long.
        """
        given_up = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > given_up:
                raise InputError(f"{self.name} does not start on port {self.port}: its last words are in {self.log}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        connection = HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", self.health)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a process and wait for its whole group to go; kill what is left after a while."""
    process.send_signal(signal.SIGINT)
    given_up = time.monotonic() + _STOP_SECONDS
    while _group_lives(process) and time.monotonic() < given_up:
        time.sleep(0.1)
    if _group_lives(process):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a child that has ended counts as living until it is asked
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
