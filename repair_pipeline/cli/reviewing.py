"""``repair review``: the review page, and hand-over to annotation tools."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import torch
import typer
import uvicorn

from repair_pipeline.cli.server import HOST
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.review import review_sheet
from repair_pipeline.reporting.review.app import review_app
from repair_pipeline.reporting.review.desk import Desk
from repair_pipeline.reporting.review.exchange import hand_over, take_back
from repair_pipeline.reporting.review.static import static_page
from repair_pipeline.storage.decision_log import DecisionLog
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout, data_dir


def serve(key: str, port: int, show: bool) -> None:
    """Serve the review page of a case.

    Args:
        key: the case.
        port: on loopback.
        show: whether to open the page in the browser.

    Raises:
        InputError: the case is unknown or has no scored rows, or the port is taken.
    """
    desk = _desk(key)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen()
        except OSError as error:
            raise InputError(
                f"cannot listen on port {port} of {HOST} ({error}): stop what uses it, or give another --port"
            ) from error
        address = f"http://{HOST}:{port}/"
        typer.echo(f"review   {address}\nCtrl-C stops it; decisions are stored as they are taken")
        if show:
            typer.launch(address)
        config = uvicorn.Config(review_app(desk, getpass.getuser()), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])


def export_rows(key: str, form: str, path: Path) -> None:
    """Write the rows of a case for an annotation tool.

    Raises:
        InputError: the case has no scored rows, or there is no such format.
    """
    rows, decided = hand_over(_desk(key), form, path)
    typer.echo(
        f"{path}: {rows} rows, {decided} with a decision; to read it back: repair review {key} --import {form} FILE"
    )


def import_decisions(key: str, form: str, path: Path) -> None:
    """Store the decisions that an annotation tool returns.

    Raises:
        InputError: the case has no scored rows, there is no such format, or the decisions cannot be used.
    """
    new, known = take_back(_desk(key), form, path)
    typer.echo(f"{path}: {new} new decisions, {known} that were known; to follow them: repair patch apply {key}")


def write_static(key: str, path: Path) -> None:
    """Write the review page as one file.

    Raises:
        InputError: the case has no scored rows.
    """
    shown = static_page(_desk(key), getpass.getuser())
    write_text(path, shown.html)
    typer.echo(f"{path}: {shown.rows} rows; open it in a browser, decide, and download the decisions")
    typer.echo(f"to store them: repair review {key} --import decisions FILE")


def _desk(key: str) -> Desk:
    layout = Layout.current()
    case = Case(stored_spec(layout, key), layout, data_dir(), torch.device("cpu"))
    return Desk(review_sheet(case), DecisionLog(layout, case.id))
