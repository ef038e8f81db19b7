"""``repair study``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch
import typer
from rich.progress import Progress
from rich.table import Column, Table

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.errors import ExitCode
from repair_pipeline.compute.bars import COLUMNS
from repair_pipeline.compute.engines import Processes
from repair_pipeline.pipeline.engine import chosen_engine
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.studies import costs
from repair_pipeline.studies.studies import find_study
from repair_pipeline.studies.study import Study, run_study


def run_and_show(name: str, plan: bool, workers: int | None, only: Sequence[str], register: bool) -> None:
    """Run a study, and print its plan first; exit code 1 if a part of it failed.

    Args:
        name: the study.
        plan: print the plan and run nothing.
        workers: number of processes of the engine ``local``; None is one per core.
        only: parts of the study ``paper`` to run; empty for all.
        register: make the study's cases partitions in Dagster and run nothing.

    Raises:
        InputError: there is no such study, or no such part of it.
    """
    study, layout, console = find_study(name, only), Layout.current(), plain_console()
    if register:
        from repair_pipeline.defs.partitions import dagster_instance, register_cases  # Dagster takes seconds to import

        keys = register_cases(dagster_instance(layout), layout, study.cases())
        console.print(f"{len(keys)} cases are registered as partitions in Dagster: backfill the job study over them")
        return
    workers = workers or len(os.sched_getaffinity(0))
    console.print(_plan(study, layout, workers))
    if plan:
        return
    with (
        chosen_engine(torch.device("cpu"), local=Processes(workers)),
        Progress(*COLUMNS, console=console, disable=not console.is_terminal) as bars,
    ):
        bar = bars.add_task(name, total=None)
        failed = run_study(study, layout, data_dir(), lambda done, total: bars.update(bar, completed=done, total=total))
    console.print(f"tables   {layout.study(name) / 'tables.md'}", soft_wrap=True)
    for line in failed:
        print(f"repair: {line}; run the same command again to retry it", file=sys.stderr)
    if failed:
        raise typer.Exit(ExitCode.step_failed)


def _plan(study: Study, layout: Layout, workers: int) -> Table:
    """A table of a study's pieces: how many files of each are left, and the expected time for them."""
    stages = study.stages(layout, data_dir())
    pieces = [piece for stage in stages for piece in stage.pieces]
    minutes = sum(stage.seconds_left(workers) for stage in stages) / 60
    megabytes = costs.MEGABYTES * sum(len(piece.left) for piece in pieces)
    table = Table(
        Column("piece", no_wrap=True),
        Column("files left", justify="right"),
        Column("minutes on one core", justify="right"),
        title=f"{study.name}: about {minutes:.0f} minutes left on {workers} cores, and {megabytes:.0f} MB of disk",
        title_justify="left",
    )
    for piece in pieces:
        table.add_row(piece.name, f"{len(piece.left)} of {len(piece.files)}", f"{piece.seconds_left / 60:.1f}")
    return table
