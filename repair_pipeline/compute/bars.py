"""Progress bars in a terminal or a notebook."""

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
    """A progress bar that disappears at the end; no bar if ``console`` is neither a terminal nor a notebook.

    A notebook needs ipywidgets: without it rich warns at every update.

    Args:
        console: where the bar is drawn.
        title: shown left of the bar.

    Returns:
        The progress callback.
    """
    if not (find_spec("ipywidgets") if console.is_jupyter else console.is_terminal):
        yield types.silent
        return
    with Progress(*COLUMNS, console=console, transient=True) as bars:
        yield partial(show, bars, bars.add_task(title, total=None))


def show(bars: Progress, bar: TaskID, done: int, total: int) -> None:
    """Update a bar. If ``done`` decreases, the bar restarts: a step may write several files, each counted anew."""
    if done < bars.tasks[bar].completed:
        bars.reset(bar)
    bars.update(bar, completed=done, total=total)


class Rate(ProgressColumn):
    """A column with the number of units per second, as used for the remaining time."""

    def render(self, task: Task) -> Text:
        """The speed; empty until it is known."""
        return TaskProgressColumn.render_speed(task.finished_speed or task.speed)


COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    Rate(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)
