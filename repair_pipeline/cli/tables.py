"""The results of a case as a table for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.descriptions import by_kind, kind, short_name
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.types import FailureGroup


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
        group = FailureGroup(row["failure_group"]).phrase("{}: ")
        table.add_row(
            kind(row), group + short_name(row), str(row["removed"]), *(f"{value:.3f}" for value in accuracies)
        )
    return table
