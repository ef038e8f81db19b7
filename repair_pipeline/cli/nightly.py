"""``repair nightly``."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from rich.table import Column, Table

from repair_pipeline.cli.console import plain_console, print_whole
from repair_pipeline.cli.open_case import open_case
from repair_pipeline.cli.run import run_and_show
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.defs.switches import switch, switched_on
from repair_pipeline.pipeline.nightly import Skip, add_template, find_template, make_night, remove_template, templates
from repair_pipeline.reporting.descriptions import plain
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query


def add(file: str) -> None:
    """Save a case file as a template.

    Raises:
        InputError: it is not a valid case, or does not have the key ``nightly``.
    """
    layout, spec = Layout.current(), open_case(file, [], "auto").spec
    add_template(layout, spec, spec.root)
    state = "on" if switched_on(layout) else "off: turn them on with repair nightly on"
    typer.echo(f"template {spec.name} saved; nightly runs are {state}")


def remove(name: str) -> None:
    """Remove a template.

    Raises:
        InputError: there is no such template.
    """
    remove_template(Layout.current(), name)
    typer.echo(f"template {name} removed; its cases are kept")


def show() -> None:
    """Print a row for every template: the failures it watches, its last case and the verdict on it."""
    layout = Layout.current()
    table = Table("template", "watches", Column("cases", justify="right"), "last case", "status", "verdict")
    rows = query(
        layout,
        "SELECT json_extract_string(spec, '$.template') AS template, case_id, status, verdict "
        "FROM cases LEFT JOIN (FROM verdicts WHERE judge = 'gate') USING (case_id) "
        "WHERE json_extract_string(spec, '$.failures.reported') IS NOT NULL ORDER BY created_at",
    ).to_pylist()
    for template in templates(layout):
        cases = [row for row in rows if row["template"] == template.name]
        last = cases[-1] if cases else {}
        watched = template.spec.nightly.failures if template.spec.nightly else ""
        case, status, verdict = (last.get(column) or "" for column in ("case_id", "status", "verdict"))
        table.add_row(template.name, watched, str(len(cases)), case, status, plain(verdict))
    console = plain_console()
    print_whole(console, table)
    on = ", ".join(switched_on(layout)) or "nothing"
    console.print(f"switched on: {on} (runs only while repair ui is running)", soft_wrap=True)
    if layout.notices.exists():
        console.print(f"notices  {layout.notices}", soft_wrap=True)


def tick(name: str) -> None:
    """Make the next case of a template and run it, or print why there is none.

    Raises:
        InputError: there is no such template, or its reported failures cannot be read.
    """
    layout = Layout.current()
    spec = make_night(layout, find_template(layout, name), datetime.now(UTC).date())
    if isinstance(spec, Skip):
        typer.echo(f"skipped: {spec.reason}")
        return
    [key] = register_cases(dagster_instance(layout), layout, [spec])
    run_and_show(key, [], force=False, device="auto")


def turn(on: bool, watch: bool, clean_up: bool) -> None:
    """Switch schedules and sensors on or off; on includes new failures and the clean-up only where they are wanted."""
    layout = Layout.current()
    names = switch(layout, on, watch, clean_up)
    if on and not templates(layout):
        typer.echo("there is no template yet, so nothing will run; to add one: repair nightly add FILE.yaml", err=True)
    typer.echo(
        f"{'on' if on else 'off'}: {', '.join(names)}" + ("; they run only while repair ui is running" if on else "")
    )
