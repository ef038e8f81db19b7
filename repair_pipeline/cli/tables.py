"""Tables for a terminal, and for programs that read them."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.csv
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from repair_pipeline.evaluation.partition import ALL_FAILURES
from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.words import by_kind, kind, short_name
from repair_pipeline.storage.files import read_parquet


def recovery_table(case: Case) -> Table:
    """Accuracy before and after each treatment, with the controls that a gain must beat."""
    table = Table(
        title=f"{case.id}: accuracy by part of the test set",
        title_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("")
    table.add_column("model", no_wrap=True)
    for name in ("removed", "query", "holdout", "remaining", "unseen"):
        table.add_column(name, justify="right")
    rows, _ = read_parquet(case.layout.table("recovery", case.id))
    for row in by_kind(rows.to_pylist()):
        accuracies = (row[f"{part}_accuracy"] for part in ("query", "holdout", "remaining", "unseen"))
        group = "" if row["failure_group"] == ALL_FAILURES else f"{row['failure_group']}: "
        table.add_row(
            kind(row), group + short_name(row), str(row["removed"]), *(f"{value:.3f}" for value in accuracies)
        )
    return table


def print_answer(answer: pa.Table, form: str) -> None:
    """Print a query's answer: for a person, as CSV with a header, or as a JSON array of objects."""
    if form == "csv":
        pa.csv.write_csv(answer, sys.stdout.buffer)
    elif form == "json":
        print(json.dumps(answer.to_pylist(), default=str, indent=1))
    else:
        table = Table(*answer.column_names)
        for row in answer.to_pylist():
            table.add_row(*("" if value is None else _shown(value) for value in row.values()))
        Console().print(table)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
