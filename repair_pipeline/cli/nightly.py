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
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query


def add(file: str) -> None:
    """Keep a case file as a template.

    Raises:
        InputError: it is no case, or says nothing of its nights.
    """
    layout, spec = Layout.current(), open_case(file, [], "auto").spec
    add_template(layout, spec, spec.root)
    on = "on" if switched_on(layout) else "off: repair nightly on"
    typer.echo(f"template {spec.name} is kept; its nights are {on}")


def remove(name: str) -> None:
    """Forget a template.

    Raises:
        InputError: there is none.
    """
    remove_template(Layout.current(), name)
    typer.echo(f"template {name} is forgotten; its nights are kept")


def show() -> None:
    """A row for every template: what it watches, its last night and that night's verdict."""
    layout = Layout.current()
    table = Table("template", "watches", Column("nights", justify="right"), "last night", "status", "verdict")
    rows = query(
        layout,
        "SELECT json_extract_string(spec, '$.template') AS template, case_id, status, verdict "
        "FROM cases LEFT JOIN (FROM verdicts WHERE judge = 'gate') USING (case_id) "
        "WHERE json_extract_string(spec, '$.failures.reported') IS NOT NULL ORDER BY created_at",
    ).to_pylist()
    for template in templates(layout):
        nights = [row for row in rows if row["template"] == template.name]
        last = nights[-1] if nights else {}
        watched = template.spec.nightly.failures if template.spec.nightly else ""
        said = (last.get(column) or "" for column in ("case_id", "status", "verdict"))
        table.add_row(template.name, watched, str(len(nights)), *said)
    console = plain_console()
    print_whole(console, table)
    on = ", ".join(switched_on(layout)) or "nothing"
    console.print(f"switched on: {on} (while repair ui runs)", soft_wrap=True)
    if layout.notices.exists():
        console.print(f"notices  {layout.notices}", soft_wrap=True)


def tick(name: str) -> None:
    """Make tonight's case of a template and run it here, or say why there is none.

    Raises:
        InputError: there is no such template, or its reports cannot be read.
    """
    layout = Layout.current()
    made = make_night(layout, find_template(layout, name), datetime.now(UTC).date())
    if isinstance(made, Skip):
        typer.echo(f"skipped: {made.reason}")
        return
    [key] = register_cases(dagster_instance(layout), layout, [made])
    run_and_show(key, [], force=False, device="auto")


def turn(on: bool, watch: bool) -> None:
    """Switch the schedule and the sensors."""
    layout = Layout.current()
    names = switch(layout, on, watch)
    if on and not templates(layout):
        typer.echo("there is no template yet, so nothing will run: repair nightly add FILE.yaml", err=True)
    typer.echo(f"{'on' if on else 'off'}: {', '.join(names)}" + ("; they run while repair ui does" if on else ""))
