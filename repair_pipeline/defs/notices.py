"""Telling whoever is not watching."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout

_SECONDS = 60


def notify(layout: Layout, says: str) -> None:
    """Add a line to the notices, and hand it to the command of the setting ``notify`` on its standard input.

    Raises:
        CalledProcessError, TimeoutExpired: the command fails; the line is written by then.
    """
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {says}\n"
    layout.notices.parent.mkdir(parents=True, exist_ok=True)
    with open(layout.notices, "a", encoding="utf-8") as notices:
        notices.write(line)
    if command := read_settings().notify:
        subprocess.run(command, shell=True, input=line, text=True, timeout=_SECONDS, check=True)
