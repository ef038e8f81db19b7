"""A console that prints text literally, and tables whose width does not depend on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 10_000


def plain_console() -> Console:
    """A console that prints text literally: brackets are no markup, and colons no emoji."""
    return Console(markup=False, emoji=False, highlight=False)


def print_whole(console: Console, table: Table) -> None:
    """Print a table; in full width if the output is a file or a pipe."""
    if not console.is_terminal:
        unbounded = console.options.update(max_width=_WIDEST)
        console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table)
