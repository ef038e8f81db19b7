"""Printing the answer to a query: as a table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from rich.table import Table

from repair_pipeline.cli.console import plain_console, print_whole
from repair_pipeline.errors import InputError, printed


def print_answer(answer: pa.Table, form: str) -> None:
    """Print the answer to a query. Characters that would command the terminal are printed as escapes.

    Args:
        answer: its rows.
        form: ``table``, ``csv`` (with a header) or ``json`` (an array of objects).

    Raises:
        InputError: ``form`` is ``json`` and two columns have the same name.
    """
    if form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")  # Arrow's writer quotes every text
        lines.writerow([_csv_field(name) for name in answer.column_names])
        lines.writerows([_csv_field(value) for value in row] for row in _rows(answer))
    elif form == "json":
        _require_unique_names(answer)
        print(json.dumps(answer.to_pylist(), default=str, indent=1))
    else:
        table = Table(*map(printed, answer.column_names))
        for row in _rows(answer):
            table.add_row(*("" if value is None else _table_cell(value) for value in row))
        print_whole(plain_console(), table)


def _rows(answer: pa.Table) -> Iterator[tuple[object, ...]]:
    """Rows as tuples, not dictionaries, because two columns may have the same name."""
    return zip(*(column.to_pylist() for column in answer.columns), strict=True)


def _require_unique_names(answer: pa.Table) -> None:
    name, count = Counter(answer.column_names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{count} columns of the answer are named {name!r}, but the keys of a JSON object are unique: "
            f"rename one, for example {name} AS {name}_2, or use --format csv"
        )


def _table_cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else printed(str(value))


def _csv_field(value: object) -> object:
    """The value as SQL writes it: empty for null, lower-case true and false."""
    if isinstance(value, str):
        return printed(value, keep="\t\n\r")  # which a quoted field may have
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value
