"""What people decided about training rows: a table that is only added to, and never changed.

A writer has files of its own, so that no two processes write one file and no lock is needed; each file appears whole or
not at all. Of several decisions about a row, the last one counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows

Choice = Literal["keep", "drop", "relabel", "unsure", "undecided"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

_FULL = 1000
"""Rows from which on a writer begins another file: adding a row to a file writes the whole file again."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Decision:
    """What one person decided about one training row."""

    example_id: str
    decision: Choice
    """``undecided`` takes an earlier decision back."""
    label: str | None
    """The name of the new class of a row to relabel; None otherwise."""
    who: str
    decided_at: datetime
    note: str = ""


@dataclass
class DecisionLog:
    """The decisions of a case, with those that other processes add in the meantime."""

    layout: Layout
    case_id: str
    entries: list[Decision] = field(default_factory=list)
    """All decisions in the order in which they became known here; ``read`` adds to them."""
    latest: dict[str, Decision] = field(default_factory=dict)
    """The decision that counts, by example id."""
    _own: list[Decision] = field(default_factory=list)
    """The rows of the file that is being written."""
    _file: Path | None = None
    _last: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    """When the latest of all decisions was taken."""
    _seen: dict[Path, tuple[tuple[int, int], int]] = field(default_factory=dict)
    """For each file its time and size, and the number of its rows that are known."""

    @property
    def folder(self) -> Path:
        return self.layout.table("decisions", self.case_id).parent

    def read(self) -> DecisionLog:
        """Read what was added since the last time. Costs one look at each file."""
        for path in sorted(self.folder.glob("*.parquet")):
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            before, known = self._seen.get(path, ((0, 0), 0))
            if stamp != before:
                rows = read_parquet(path)[0].slice(known).to_pylist()
                self._note(Decision(**row) for row in rows)
                self._seen[path] = stamp, known + len(rows)
        return self

    def add(self, decided: Sequence[Mapping[str, Any]], who: str) -> list[Decision]:
        """Store decisions; when this returns, they are on disk.

        Args:
            decided: ``example_id``, ``decision``, ``label`` and optionally ``note`` of each.
            who: the person who decided.

        Returns:
            The decisions, later than all that are known.
        """
        # Just after the last one, should another machine's clock be ahead: the last one counts.
        now = max(datetime.now(UTC), self._last + _TICK)
        new = [Decision(**row, who=who, decided_at=now + number * _TICK) for number, row in enumerate(decided)]
        self.store(new)
        return new

    def store(self, new: Sequence[Decision]) -> None:
        """Store decisions that were taken elsewhere, at the times that they say."""
        if not new:
            return
        if self._file is None or len(self._own) >= _FULL:
            # Named by the time, so that files sort by it, and at random, so that no two writers take one name.
            self._file, self._own = (
                self.folder / f"{new[0].decided_at:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.parquet",
                [],
            )
        rows = [*self._own, *new]
        save_rows(self._file, "decisions", map(asdict, rows), {})
        status = self._file.stat()
        self._own, self._seen[self._file] = rows, ((status.st_mtime_ns, status.st_size), len(rows))
        self._note(new)

    def _note(self, new: Iterable[Decision]) -> None:
        for entry in new:
            self.entries.append(entry)
            self._last = max(self._last, entry.decided_at)
            known = self.latest.get(entry.example_id)
            if known is None or (entry.decided_at, entry.who) >= (known.decided_at, known.who):
                self.latest[entry.example_id] = entry
