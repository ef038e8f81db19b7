"""Notices about runs that failed or whose repair was not accepted."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout

_SECONDS = 60


def notify(layout: Layout, message: str) -> None:
    """Add a line to the notices, and pass it to the standard input of the command in the setting ``notify``.

    Raises:
        CalledProcessError, TimeoutExpired: the command failed; the line has been written.
    """
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {message}\n"
    layout.notices.parent.mkdir(parents=True, exist_ok=True)
    with open(layout.notices, "a", encoding="utf-8") as notices:
        notices.write(line)
    if command := read_settings().notify:
        subprocess.run(command, shell=True, input=line, text=True, timeout=_SECONDS, check=True)
