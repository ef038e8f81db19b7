"""The changes of a patch to the rows of one file."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repair_pipeline.errors import InputError

Change = Mapping[str, Any] | None
"""A row of a patch (``action``, ``suggested_label``), or None for an unchanged row."""


def positions_of(keys: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """The positions of each key, the last one first."""
    positions = dict[Hashable, list[int]]()
    for at, each in enumerate(keys):
        positions.setdefault(each, []).insert(0, at)
    return positions


def row_name(row: int, ids: Sequence[str] | None) -> str:
    """A row's id, or its position."""
    return ids[row] if ids else f"row {row}"


def other_columns(current: Path) -> InputError:
    """The error for a file whose columns are not those that were patched."""
    return InputError(
        f"{current} has other columns than when the patch was applied, so its dropped rows cannot be put back: give it "
        "its former columns, then revert again"
    )
