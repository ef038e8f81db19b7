"""``repair check``."""

from __future__ import annotations

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.errors import ExitCode
from repair_pipeline.cli.open_case import open_case
from repair_pipeline.pipeline.preflight import preflight


def check_and_show(source: str, settings: list[str]) -> None:
    """Print a line for every check; exit code 4 if there is a warning."""
    case = open_case(source, settings, "auto")
    table = Table(Column("", no_wrap=True), Column("check", no_wrap=True), "result", box=SIMPLE_HEAD, pad_edge=False)
    findings = list(preflight(case))
    for finding in findings:
        table.add_row("ok" if finding.fine else "warn", finding.name, finding.says)
    console = plain_console()
    console.print(f"case {case.id}: this check writes nothing")
    console.print(table)
    warnings = sum(not finding.fine for finding in findings)
    if warnings:
        console.print(f"warnings: {warnings}; fix what is not intended; next: repair run {source}")
        raise typer.Exit(ExitCode.warnings)
    console.print(f"no problem found; next: repair run {source}")
