"""A console that prints text literally, and tables whose width does not depend on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from repair_pipeline.errors import printed

_WIDEST = 10_000


class _Literal(Console):
    """A console that escapes the control characters of what it prints."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(printed(text, keep="\n\t"), **how)


def plain_console() -> Console:
    """A console that prints text literally: brackets are no markup, colons no emoji, control characters no commands."""
    return _Literal(markup=False, emoji=False, highlight=False)


def print_whole(console: Console, table: Table) -> None:
    """Print a table; in full width if the output is a file or a pipe."""
    if not console.is_terminal:
        unbounded = console.options.update(max_width=_WIDEST)
        console.width = max(console.width, Measurement.get(console, unbounded, table).maximum)
    console.print(table)
