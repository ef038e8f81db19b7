"""What a row is, in words: its text, or its feature values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from repair_pipeline.reporting.descriptions import shortened
from repair_pipeline.types import CorruptedDataset, Examples

_TEXT = 25
"""Letters that the values of a column of text have on average."""
_LETTERS = 160
_FEATURES = 6


def text_column(table: pa.Table, names: Iterable[str], prefix: str = "") -> str | None:
    """The column of texts: the one whose values are longest on average; None if none are long.

    Args:
        table: holds the columns.
        names: the owner's columns.
        prefix: of their names in the table.
    """
    lengths = {}
    for name in names:
        column = table[prefix + name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            lengths[name] = pc.mean(pc.utf8_length(column)).as_py() or 0
    longest = max(lengths, key=lambda name: lengths[name], default=None)
    return longest if longest is not None and lengths[longest] >= _TEXT else None


class Contents:
    """What rows of a data set are, for tables. Images are shown as pictures instead.

    Args:
        data: the data set.
    """

    def __init__(self, data: CorruptedDataset) -> None:
        self._data = data
        table = data.metadata
        column = None if table is None else text_column(table, table.column_names[1:])
        self._texts: dict[str, str] = {}
        if table is not None and column is not None:
            self._texts = dict(zip(table["example_id"].to_pylist(), table[column].to_pylist(), strict=True))
        self.head: tuple[str, ...] = ("Text",) if self._texts else ("Features",) if data.features else ()
        """The heading of the column; empty if there is nothing to say."""

    def cells(self, rows: Examples) -> list[tuple[str, ...]]:
        """For each row, the cell below the heading; empty if there is none."""
        if self._texts:
            return [(shortened(self._texts.get(str(name)) or "", _LETTERS),) for name in rows.ids]
        if not self._data.features:
            return [()] * len(rows)
        return [(_listed(self._data.features, values),) for values in rows.tensor.tolist()]


def _listed(names: Sequence[str], values: Sequence[float]) -> str:
    shown = ", ".join(f"{name} {value:g}" for name, value in zip(names[:_FEATURES], values, strict=False))
    return f"{shown}, …" if len(names) > _FEATURES else shown
