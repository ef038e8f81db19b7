"""The answer to a query, for a person and for programs that read it."""

from __future__ import annotations

import csv
import json
import sys

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from repair_pipeline.cli.console import print_whole


def print_answer(answer: pa.Table, form: str) -> None:
    """Print a query's answer: for a person, as CSV with a header, or as a JSON array of objects."""
    if form == "csv":
        lines = csv.writer(sys.stdout, lineterminator="\n")  # Arrow's own quotes every text
        lines.writerow(answer.column_names)
        lines.writerows([_plain(value) for value in row.values()] for row in answer.to_pylist())
    elif form == "json":
        print(json.dumps(answer.to_pylist(), default=str, indent=1))
    else:
        table = Table(*answer.column_names)
        for row in answer.to_pylist():
            table.add_row(*("" if value is None else _shown(value) for value in row.values()))
        print_whole(Console(), table)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    """As SQL writes it: nothing for null, true and false in small letters."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value
