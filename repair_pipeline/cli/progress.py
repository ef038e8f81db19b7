"""Steps as they go by: a bar for whoever watches, a line for whoever reads the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from repair_pipeline import types
from repair_pipeline.pipeline.steps import Step


class StepBars:
    """A ``Watch`` for ``run_case``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, step: Step) -> Iterator[types.Progress]:
        """Show the step's progress while it runs, and one line with its seconds when it is done."""
        started = time.perf_counter()
        if self._console.is_terminal:
            with Progress(*COLUMNS, console=self._console, transient=True) as bars:
                bar = bars.add_task(step.name, total=None)
                yield partial(show, bars, bar)
        else:
            yield types.silent
        self._console.print(f"{step.name:<24}{time.perf_counter() - started:6.1f} s")


def show(bars: Progress, bar: TaskID, done: int, total: int) -> None:
    """Move a bar. One that goes back begins anew: a step may make several files, and each is watched from its start."""
    if done < bars.tasks[bar].completed:
        bars.reset(bar)
    bars.update(bar, completed=done, total=total)


class Rate(ProgressColumn):
    """How many are done a second, as the bar's remaining time has it."""

    def render(self, task: Task) -> Text:
        """Nothing until it is known."""
        return TaskProgressColumn.render_speed(task.finished_speed or task.speed)


COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    Rate(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
