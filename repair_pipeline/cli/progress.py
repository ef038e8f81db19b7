"""Progress of steps: a bar on a terminal, and a line for each finished step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from repair_pipeline import types
from repair_pipeline.compute.bars import bar
from repair_pipeline.pipeline.step import Step


class StepBars:
    """A ``Watch`` of ``run_case`` that prints to a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, step: Step) -> Iterator[types.Progress]:
        """Show the step's progress while it runs, and one line with its seconds when it is done."""
        started = time.perf_counter()
        with bar(self._console, step.name) as progress:
            yield progress
        self._console.print(f"{step.name:<24}{time.perf_counter() - started:6.1f} s")
