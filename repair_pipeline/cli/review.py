"""The command ``repair review``. It imports its heavy modules itself, so that --help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line
from repair_pipeline.cli.options import CaseName
from repair_pipeline.errors import InputError

PORT = 4100


def review(
    case: CaseName,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port on loopback.")] = PORT,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    export: Annotated[
        tuple[str, Path] | None,
        typer.Option(
            metavar="FORMAT FILE", help="Write label-studio, fiftyone, cleanlab, huggingface or decisions instead."
        ),
    ] = None,
    take: Annotated[
        tuple[str, Path] | None,
        typer.Option("--import", metavar="FORMAT FILE", help="Store the decisions that such a tool returns instead."),
    ] = None,
    static: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page as one file that needs no server instead.")
    ] = None,
) -> None:
    """Review the training rows of CASE in the browser, and decide.

    Serves a page on loopback until Ctrl-C. Decisions are stored at once; repair patch apply follows them.
    """
    from repair_pipeline.cli.reviewing import export_rows, import_decisions, serve, write_static

    with one_line():
        if sum(each is not None for each in (export, take, static)) > 1:
            raise InputError("--export, --import and --static are given together: give one at a time")
        if export is not None:
            export_rows(case, *export)
        elif take is not None:
            import_decisions(case, *take)
        elif static is not None:
            write_static(case, static)
        else:
            serve(case, port, show)
