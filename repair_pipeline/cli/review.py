"""The command ``repair review``. It imports its heavy modules itself, so that --help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line
from repair_pipeline.cli.options import CaseName

PORT = 4100


def review(
    case: CaseName,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port on loopback.")] = PORT,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Review the training rows of CASE in the browser: keep, drop or relabel them.

    Serves a page on loopback until Ctrl-C. Decisions are stored at once; repair patch apply follows them.
    """
    from repair_pipeline.cli.reviewing import serve

    with one_line():
        serve(case, port, show)
