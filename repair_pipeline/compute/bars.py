"""A bar for whoever watches a long step in a terminal or a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

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


@contextmanager
def bar(console: Console, title: str) -> Iterator[types.Progress]:
    """A bar that is gone when the step is done; none where ``console`` writes neither to a terminal nor a notebook.

    A notebook needs ipywidgets for it: without them rich warns at every move.
    """
    if not (find_spec("ipywidgets") if console.is_jupyter else console.is_terminal):
        yield types.silent
        return
    with Progress(*COLUMNS, console=console, transient=True) as bars:
        yield partial(show, bars, bars.add_task(title, total=None))


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
