"""Consoles for what is not ours to interpret, and tables on a terminal or where there is none."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 10_000


def plain_console() -> Console:
    """A console that prints what it is given: nothing in brackets or between colons is taken for its own."""
    return Console(markup=False, emoji=False, highlight=False)


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is where no terminal bounds it: whoever reads a file or a pipe has no width."""
    if not console.is_terminal:
        unbounded = console.options.update(max_width=_WIDEST)
        console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table)
