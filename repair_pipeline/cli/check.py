"""``repair check``."""

from __future__ import annotations

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.open_case import open_case
from repair_pipeline.pipeline.preflight import preflight


def check_and_show(source: str, settings: list[str]) -> None:
    """A line for everything looked at; exit code 1 where something is not as it should be."""
    case = open_case(source, settings, "auto")
    table = Table(Column("", no_wrap=True), Column("looked at", no_wrap=True), "found", box=SIMPLE_HEAD, pad_edge=False)
    findings = list(preflight(case))
    for finding in findings:
        table.add_row("ok" if finding.fine else "look", finding.name, finding.says)
    console = plain_console()
    console.print(f"case {case.id}: nothing is written by this check")
    console.print(table)
    doubts = sum(not finding.fine for finding in findings)
    if doubts:
        console.print(f"{doubts} to look at: mend what should not be so; next: repair run {source}")
        raise typer.Exit(1)
    console.print(f"nothing in the way; next: repair run {source}")
