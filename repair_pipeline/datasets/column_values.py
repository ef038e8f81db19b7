"""The values of Arrow columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from repair_pipeline.errors import InputError, one_line


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a value is a string of bytes, of any length."""
    tests = (
        *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def values_of(path: Path, table: pa.Table, column: str) -> list[Any]:
    """A column's values.

    Args:
        path: the table's file, for error messages.
        table: holds the column.
        column: its name.

    Raises:
        InputError: a value cannot be read, such as a time in the year 60000 or in an unknown zone.
    """
    try:
        return list(table[column].to_pylist())
    except Exception as error:  # Arrow converts with the time zones and libraries that it finds, which raise their own
        kind = table.schema.field(column).type
        raise InputError(
            f"{path}: the column {column!r} of type {kind} has a value that cannot be read ({one_line(error)}): "
            "fix or drop it"
        ) from error
