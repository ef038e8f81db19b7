"""``repair gc``."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import typer

from repair_pipeline.cli.answer import print_answer
from repair_pipeline.pipeline.retention import Removed, holdings, remove
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout


def show(days: int | None) -> None:
    """Print what each case holds, and why it is kept; remove nothing."""
    layout, now, days = Layout.current(), datetime.now(UTC), read_settings(keep_days=days).keep_days
    found = holdings(layout, now, days)
    rows = [{"case": each.case_id, "MB": each.bytes / 1e6, "kept because": each.kept} for each in found]
    if rows:
        print_answer(pa.Table.from_pylist(rows), "table")
    going = [each for each in found if each.kept is None]
    size = sum(each.bytes for each in going) / 1e6
    typer.echo(f"{_cases(len(going))} would be cleared, {size:,.1f} MB and what only they share; nothing was removed")


def clear(days: int | None) -> None:
    """Clear old cases, and print what was removed."""
    layout, now, days = Layout.current(), datetime.now(UTC), read_settings(keep_days=days).keep_days
    removed = remove(layout, now, days)
    for key in removed.cases:
        typer.echo(f"cleared {key}")
    for key in removed.in_use:
        typer.echo(f"repair: {key} is in use, and was left alone", err=True)
    typer.echo(
        f"{_cases(len(removed.cases))} cleared, {removed.bytes / 1e6:,.1f} MB; verdicts, patches and decisions are kept"
    )
    typer.echo(f"deleted: {_counts(layout, removed, now, days)}")


def _counts(layout: Layout, removed: Removed, now: datetime, days: int) -> str:
    runs = 0
    if layout.dagster_home.exists():
        from repair_pipeline.defs.partitions import dagster_instance
        from repair_pipeline.defs.retention import forget_runs

        with dagster_instance(layout) as instance:
            runs = forget_runs(instance, layout, now, days)
    return f"{removed.bases} shared base models, {removed.runs} MLflow runs, {runs} Dagster runs"


def _cases(count: int) -> str:
    return f"{count} case{'s'[: count != 1]}"
