"""``repair run``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Column, Table

from repair_pipeline.cli.console import plain_console, print_whole
from repair_pipeline.cli.errors import ExitCode
from repair_pipeline.cli.open_case import open_case, open_tracked_case
from repair_pipeline.cli.progress import StepBars
from repair_pipeline.cli.repeat import Comparing
from repair_pipeline.cli.tables import recovery_table
from repair_pipeline.cli.verdicts import code_of, print_verdicts
from repair_pipeline.compute.device import DeviceName
from repair_pipeline.defs.assets.events import report_materialisations
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.engine import chosen_engine
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.ledger import announced_reuse
from repair_pipeline.pipeline.plan import changed_since, expected_holdouts, plan
from repair_pipeline.pipeline.run import StepError, TerminatedError, Watch, run_case
from repair_pipeline.pipeline.standing import applied_patch_of_another
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.runs import tracked


def repeat_and_show(run_id: str, settings: list[str], force: bool, device: DeviceName) -> None:
    """Run the case of an MLflow run again, from the spec that the run holds.

    Raises:
        InputError: there is no such run, or it is not the run of a case.
    """
    run, console = tracked(Layout.current(), run_id), plain_console()
    case = open_tracked_case(run, settings, device)
    console.print(f"repeating MLflow run {run_id}, of case {run.case_id}", soft_wrap=True)
    comparing = Comparing(case, run, StepBars(console))
    code = run_opened(case, force, console, comparing)
    comparing.compare()
    raise typer.Exit(code)


def run_and_show(source: str, settings: list[str], force: bool, device: DeviceName) -> None:
    """Run a case, and print its steps, its recovery table and what to do next.

    The exit code is 1 if a method failed, and 3 if the gate does not accept a repair.
    """
    console = plain_console()
    raise typer.Exit(run_opened(open_case(source, settings, device), force, console, StepBars(console)))


def show_plan(source: str, settings: list[str], device: DeviceName) -> None:
    """Print which steps of a case would run, and why; nothing is run or written."""
    case, console = open_case(source, settings, device), plain_console()
    steps = plan(case)
    table = Table(Column("step", no_wrap=True), Column("to make", justify="right"), "why")
    for planned in steps:
        table.add_row(planned.step.name, f"{planned.stale} of {planned.files}", planned.why or "finished")
    console.print(f"case {case.id}" + (f" is new: {change}" if (change := changed_since(case)) else ""), soft_wrap=True)
    print_whole(console, table)
    _print_warning(case)
    for group, says, _ in announced_reuse(case, expected_holdouts(case)):
        console.print(f"holdout{group.phrase(' of {}')}: {says}", soft_wrap=True)
    unfinished = sum(planned.stale > 0 for planned in steps)
    console.print(f"{unfinished} of {len(steps)} steps would run" if unfinished else "everything is finished")


def run_opened(case: Case, force: bool, console: Console, watch: Watch) -> ExitCode:
    """Run a case, and print its steps, its recovery table and what to do next.

    Args:
        case: the case.
        force: run finished steps too.
        console: what to print to.
        watch: shows the steps.

    Returns:
        The exit code.
    """
    layout = case.layout
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    console.print(f"case {case.id} on {case.device.type}, {case.spec.compute.threads} thread(s)")
    _print_warning(case)
    with interruptible(case), chosen_engine(case.device):
        outcome = run_case(case, watch, force)
    with dagster_instance(layout) as instance:
        register_cases(instance, layout, [case.id])
        with console.status("Dagster's pages"):
            report_materialisations(instance, case, outcome)
    if not outcome.made:
        console.print("everything is up to date; --force runs it again")
    console.print()
    print_whole(console, recovery_table(case))
    console.print()
    report, example = layout.report(case.id), f"SELECT * FROM recovery WHERE case_id = '{case.id}'"
    verdicts = gate_verdicts(case)
    print_verdicts(console, case)
    console.print(f"report   {report}", soft_wrap=True)
    console.print(f'SQL      repair query "{example}"', soft_wrap=True)
    console.print("pages    repair ui")
    for row in read_parquet(layout.table("detection", case.id))[0].to_pylist():
        if row["converged"] is False:
            print(f"repair: {row['method']} has not converged: do not trust its ranking", file=sys.stderr)
    for step, cause in outcome.failed.items():
        print(f"repair: {step} failed: {cause}; run the same command again to retry it", file=sys.stderr)
    return ExitCode.step_failed if outcome.failed else code_of(verdicts)


def _print_warning(case: Case) -> None:
    if warning := applied_patch_of_another(case):
        print(f"repair: {warning}", file=sys.stderr)


@contextmanager
def interruptible(case: Case) -> Iterator[None]:
    """End with one line and exit code 1 if a step fails, 130 on Ctrl-C, 143 on SIGTERM."""
    try:
        yield
    except StepError as error:
        logging.getLogger(__name__).error("the step's error", exc_info=error.__cause__)
        print(f"repair: {error}; {_how_to_continue(case)}", file=sys.stderr)
        raise typer.Exit(ExitCode.step_failed) from None
    except KeyboardInterrupt as stopped:
        print(f"repair: stopped; {_how_to_continue(case)}", file=sys.stderr)
        raise typer.Exit(
            ExitCode.terminated if isinstance(stopped, TerminatedError) else ExitCode.interrupted
        ) from None


def _how_to_continue(case: Case) -> str:
    command = f"repair run {case.id}" if case.record else "the same command"
    return f"finished steps are kept; to continue: {command}"
