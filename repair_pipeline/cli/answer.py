"""The answer to a query, for a person and for programs that read it."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from rich.table import Table

from repair_pipeline.cli.console import plain_console, print_whole
from repair_pipeline.errors import InputError


def print_answer(answer: pa.Table, form: str) -> None:
    """Print a query's answer: for a person, as CSV with a header, or as a JSON array of objects.

    Raises:
        InputError: two columns have one name, and it is JSON that is wanted.
    """
    if form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")  # Arrow's own quotes every text
        lines.writerow(answer.column_names)
        lines.writerows([_plain(value) for value in row] for row in _rows(answer))
    elif form == "json":
        _require_one_of_a_name(answer)
        print(json.dumps(answer.to_pylist(), default=str, indent=1))
    else:
        table = Table(*answer.column_names)
        for row in _rows(answer):
            table.add_row(*("" if value is None else _shown(value) for value in row))
        print_whole(plain_console(), table)


def _rows(answer: pa.Table) -> Iterator[tuple[object, ...]]:
    """By place: two columns may have one name."""
    return zip(*(column.to_pylist() for column in answer.columns), strict=True)


def _require_one_of_a_name(answer: pa.Table) -> None:
    name, count = Counter(answer.column_names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{count} columns of the answer are called {name!r}, and a JSON object holds one of a name: "
            f"name them apart, for example {name} AS {name}_2, or ask for --format csv"
        )


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    """As SQL writes it: nothing for null, true and false in small letters."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value
