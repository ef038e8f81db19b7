"""The commands of ``repair nightly``. Each imports its heavy modules itself, so that --help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line

nightly = typer.Typer(
    help="Run repairs on a schedule, on newly reported failures.", no_args_is_help=True, rich_markup_mode=None
)
TemplateName = Annotated[str, typer.Argument(metavar="NAME")]


@nightly.command("add", epilog="Example: repair nightly add wards.yaml")
def nightly_add(file: Annotated[str, typer.Argument(metavar="FILE")]) -> None:
    """Save the case FILE, which has the key nightly, as a template."""
    from repair_pipeline.cli.nightly import add

    with one_line():
        add(file)


@nightly.command("remove", epilog="Example: repair nightly remove wards")
def nightly_remove(name: TemplateName) -> None:
    """Remove the template NAME; its cases are kept."""
    from repair_pipeline.cli.nightly import remove

    with one_line():
        remove(name)


@nightly.command("list", epilog="Example: repair nightly list")
def nightly_list() -> None:
    """List the templates, their last cases, and what is switched on."""
    from repair_pipeline.cli.nightly import show

    with one_line():
        show()


@nightly.command("tick", epilog="Example: repair nightly tick wards")
def nightly_tick(name: TemplateName) -> None:
    """Make the next case of the template NAME and run it now."""
    from repair_pipeline.cli.nightly import tick

    with one_line():
        tick(name)


@nightly.command("on", epilog="Example: repair nightly on --watch")
def nightly_on(
    watch: Annotated[bool, typer.Option("--watch", help="Also run as soon as failures are reported.")] = False,
    clean_up: Annotated[
        bool, typer.Option("--gc", help="Also clear old cases every night, as repair gc does.")
    ] = False,
) -> None:
    """Switch on the schedule and the sensors. They watch for new champions and failed runs."""
    from repair_pipeline.cli.nightly import turn

    with one_line():
        turn(True, watch, clean_up)


@nightly.command("off", epilog="Example: repair nightly off")
def nightly_off() -> None:
    """Switch off the schedule and all sensors."""
    from repair_pipeline.cli.nightly import turn

    with one_line():
        turn(False, False, False)
