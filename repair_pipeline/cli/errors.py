"""Exit codes, and bad input as a one-line message."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from repair_pipeline.errors import InputError
from repair_pipeline.storage.room import unwritable


class ExitCode(IntEnum):
    """How a command ends."""

    done = 0
    """Done; and where a gate judged, every repair is accepted."""
    step_failed = 1
    """A step failed, or a method; what is finished is kept."""
    unusable_input = 2
    """The input cannot be used, or the place of the results; one line says why."""
    not_accepted = 3
    """A gate judged, and its verdict on some failure group is not *accepted*."""
    warnings = 4
    """``repair check`` found nothing that stops a run, but something to look at."""
    interrupted = 130
    """Ctrl-C; what is finished is kept."""
    terminated = 143
    """SIGTERM; what is finished is kept."""


@contextmanager
def one_line() -> Iterator[None]:
    """End with one line on stderr and exit code 2 on an InputError, or where a place cannot be written.

    Other exceptions pass.
    """
    try:
        yield
    except Exception as error:
        known = error if isinstance(error, InputError) else unwritable(error)
        if known is None:
            raise
        print(f"repair: {known}", file=sys.stderr)
        raise typer.Exit(ExitCode.unusable_input) from None
