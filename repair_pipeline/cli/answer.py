"""The answer to a query, for a person and for programs that read it."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table


def print_answer(answer: pa.Table, form: str) -> None:
    """Print a query's answer: for a person, as CSV with a header, or as a JSON array of objects."""
    if form == "csv":
        pa.csv.write_csv(answer, sys.stdout.buffer, pa.csv.WriteOptions(quoting_style="needed"))
    elif form == "json":
        print(json.dumps(answer.to_pylist(), default=str, indent=1))
    else:
        table = Table(*answer.column_names)
        for row in answer.to_pylist():
            table.add_row(*("" if value is None else _shown(value) for value in row.values()))
        Console().print(table)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
