"""What a query may use: memory, time, threads and rows."""

from __future__ import annotations

from dataclasses import dataclass

from repair_pipeline.settings import read_settings


@dataclass(frozen=True)
class Limits:
    """The settings ``query_memory_mb``, ``query_seconds``, ``query_threads`` and ``query_rows``."""

    memory_mb: int
    seconds: int
    threads: int
    rows: int

    @staticmethod
    def current() -> Limits:
        """The limits that are set.

        Raises:
            InputError: a setting is not valid.
        """
        settings = read_settings()
        return Limits(settings.query_memory_mb, settings.query_seconds, settings.query_threads, settings.query_rows)

    @property
    def too_long(self) -> str:
        """What to tell whose query takes too long."""
        return f"it takes more than {self.seconds} s: ask for less, or raise the setting query_seconds"

    @property
    def too_large(self) -> str:
        """What to tell whose query needs too much memory."""
        return f"it needs more than {self.memory_mb} MiB: ask for less, or raise the setting query_memory_mb"

    @property
    def too_many(self) -> str:
        """What to tell whose query has too many rows."""
        return f"its answer has more than {self.rows} rows: add LIMIT, or raise the setting query_rows"


TOO_DEEP = "it is nested too deeply: write it with fewer levels"
"""What to tell whose query has expressions, subqueries or brackets within each other by the hundred."""


def shortened(text: str) -> str:
    """The first 200 characters of what a user wrote, for messages."""
    return text if len(text) <= 200 else f"{text[:200]}..."
