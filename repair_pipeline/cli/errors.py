"""From errors to one line and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from repair_pipeline.errors import InputError


@contextmanager
def one_line() -> Iterator[None]:
    """Bad input ends with one line on stderr and exit code 2; nothing else is caught."""
    try:
        yield
    except InputError as error:
        print(f"repair: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
