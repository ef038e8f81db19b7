"""Notices about runs that failed or whose repair was not accepted."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

from repair_pipeline.errors import InputError
from repair_pipeline.extras import package
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout

_SECONDS = 60


def notify(layout: Layout, message: str) -> None:
    """Add a line to the notices, and pass it on as the settings ``notify`` and ``notify_urls`` say.

    Raises:
        CalledProcessError, TimeoutExpired: the command failed. The line has been written, and sent to the addresses.
        InputError: an address is unusable, or did not take the line. It has been written, and sent to the other ones.
    """
    line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {message}\n"
    layout.notices.parent.mkdir(parents=True, exist_ok=True)
    with open(layout.notices, "a", encoding="utf-8") as notices:
        notices.write(line)
    settings = read_settings()
    refused = _refused(settings.notify_urls.get_secret_value().split(), line)
    if settings.notify:
        subprocess.run(settings.notify, shell=True, input=line, text=True, timeout=_SECONDS, check=True)
    if refused:
        raise InputError(f"the notice was not sent to {', '.join(refused)}: see the setting notify_urls")


def _refused(urls: list[str], line: str) -> list[str]:
    """Send a line to addresses; those that did not take it, without their passwords."""
    if not urls:
        return []
    apprise = package("apprise", "notices", "the setting notify_urls")
    refused = []
    for number, url in enumerate(urls, start=1):
        target = apprise.Apprise.instantiate(url)
        if target is None:
            refused.append(f"address {number}, which Apprise does not know")
        elif not target.notify(title="repair_pipeline", body=line):
            refused.append(target.url(privacy=True))
    return refused
