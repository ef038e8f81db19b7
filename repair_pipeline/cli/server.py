"""Starting, waiting for and stopping a web server that runs as a process group."""

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
    """A web server and its child processes, which form a process group."""

    name: str
    command: list[str]
    port: int
    health: str
    """A path that answers with status 200 once the server is ready."""
    page: str
    """The path of the start page."""
    log: Path

    @contextmanager
    def running(self, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start the server; on exit, stop all of its processes."""
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
        """Return once the server is ready.

        Raises:
            InputError: the server ended, or took too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise InputError(f"{self.name} does not start on port {self.port}: see its log {self.log}")
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
    """Interrupt a process and wait for its whole group to end; kill what is left after a timeout."""
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    while _group_is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _group_is_alive(process):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # an ended child counts as alive until it is polled
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
