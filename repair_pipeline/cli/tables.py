"""Tables for a terminal, and for programs that read them."""

from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table

from repair_pipeline.pipeline.case import Case
from repair_pipeline.storage.files import read_parquet

_ROLES = {
    "base": "before",
    "semi_oracle": "reference: fine-tuned without the planted rows",
    "reseed": "control: retrained on all rows",
}


def recovery_table(case: Case) -> Table:
    """Accuracy before and after each treatment, with the controls that a gain must beat."""
    table = Table(title=f"{case.id}: accuracy by part of the test set", title_justify="left")
    table.add_column("model")
    for name in ("removed", "query", "holdout", "remaining", "unseen"):
        table.add_column(name, justify="right")
    rows, _ = read_parquet(case.layout.table("recovery", case.id))
    treated = case.spec.treat[0] if case.spec.treat else None
    for row in sorted(rows.to_pylist(), key=lambda row: _order(row, treated)):
        accuracies = (row[f"{part}_accuracy"] for part in ("query", "holdout", "remaining", "unseen"))
        table.add_row(_role(row), str(row["removed"]), *(f"{value:.3f}" for value in accuracies))
    return table


def _order(row: dict[str, object], treated: str | None) -> int:
    """Before, repairs, controls, reference."""
    if row["treatment"] == "base":
        return 0
    if row["treatment"] == "semi_oracle":
        return 3
    return 1 if row["influence_method"] == treated else 2


def _role(row: dict[str, object]) -> str:
    treatment, method = str(row["treatment"]), row["influence_method"]
    if treatment in _ROLES:
        return _ROLES[treatment]
    if method is None:
        return f"control: {treatment}, nothing removed"
    return f"control: {treatment}, random rows removed" if method == "random" else f"{method} → {treatment}"


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
