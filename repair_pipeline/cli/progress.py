"""Steps as they go by: a bar for whoever watches, a line for whoever reads the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
                yield lambda done, total: bars.update(bar, completed=done, total=total)
        else:
            yield types.silent
        self._console.print(f"{step.name:<24}{time.perf_counter() - started:6.1f} s", highlight=False)


COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
