"""Bad input as a one-line message and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from repair_pipeline.errors import InputError


@contextmanager
def one_line() -> Iterator[None]:
    """End with one line on stderr and exit code 2 on an InputError; other exceptions pass."""
    try:
        yield
    except InputError as error:
        print(f"repair: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
