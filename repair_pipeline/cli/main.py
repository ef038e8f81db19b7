"""``repair``: the commands. What is heavy is imported by the command that needs it, so that --help is quick."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line

app = typer.Typer(
    help="Find the training examples that caused a model's failures, erase them, and prove the repair.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take most of the half second that --help may take
)

CaseName = Annotated[str, typer.Argument(metavar="CASE")]


class Device(StrEnum):
    """Where the heavy steps run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    csv = "csv"
    json = "json"


@app.command(epilog="Example: repair run digits-label_noise-s0 --set corruption.rate=0.4 --set seed=3")
def run(
    case: CaseName,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make again what is finished.")] = False,
    device: Annotated[Device, typer.Option(help="Where the heavy steps run.")] = Device.auto,
) -> None:
    """Run CASE (a preset, the id of a stored case, or FILE.yaml): what is finished is skipped."""
    from repair_pipeline.cli.run import run_and_show

    with one_line():
        run_and_show(case, settings or [], force, device.value)


@app.command(epilog="Example: repair study methods --plan")
def study(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    plan: Annotated[bool, typer.Option("--plan", help="Say what is left to run and how long it takes.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for every core if not given.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="PART", help="Only this part of the study paper; may be repeated.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Run nothing: make its cases partitions in Dagster.")
    ] = False,
) -> None:
    """Run the study NAME (methods, few_failures, counterfactual or paper): what is finished is skipped."""
    from repair_pipeline.cli.study import run_and_show

    with one_line():
        run_and_show(name, plan, workers, only or [], register)


@app.command("list", epilog="Example: repair list --register")
def list_cases(
    register: Annotated[bool, typer.Option("--register", help="Make them all partitions in Dagster.")] = False,
) -> None:
    """List the presets and every case in the store."""
    from repair_pipeline.cli.cases import show_cases

    with one_line():
        show_cases(register)


@app.command(
    epilog="Example: repair query \"SELECT method, auc FROM detection WHERE case_id = 'digits-label_noise-s0'\""
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL")],
    format: Annotated[Format, typer.Option("--format", help="How to print the answer.")] = Format.table,
) -> None:
    """Answer one SELECT over the views cases, examples, influence, detection, detection_curve, recovery, timings."""
    from repair_pipeline.cli.tables import print_answer
    from repair_pipeline.storage.layout import Layout
    from repair_pipeline.storage.views import query as ask

    with one_line():
        print_answer(ask(Layout.from_environment(), sql), format.value)


@app.command(epilog="Example: repair report digits-label_noise-s0 --open")
def report(
    case: CaseName,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Print where the report of CASE lies."""
    from repair_pipeline.cli.cases import report_path

    with one_line():
        path: Path = report_path(case)
    typer.echo(path)
    if show:
        typer.launch(path.as_uri())


@app.command(epilog="Example: repair ui --dagster-port 3001")
def ui(
    dagster_port: Annotated[int, typer.Option(help="Dagster's port on loopback.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="MLflow's port on loopback.")] = 5000,
) -> None:
    """Serve Dagster's and MLflow's pages on loopback until Ctrl-C."""
    from repair_pipeline.cli.ui import serve
    from repair_pipeline.storage.layout import Layout

    with one_line():
        serve(Layout.from_environment(), dagster_port, mlflow_port)


@app.command(epilog="Example: repair doctor --free 4f1c2a6e-0d3b-4c58-9f57-2a3c8e5d9b10")
def doctor(
    free: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Free the pool slots this run holds.")] = None,
) -> None:
    """Show versions, device, folders and stuck pool slots."""
    from repair_pipeline.cli.doctor import examine

    with one_line():
        examine(free)


if __name__ == "__main__":
    app()
