"""``repair review``: the review page on loopback, until Ctrl-C."""

from __future__ import annotations

import getpass
import socket

import torch
import typer
import uvicorn

from repair_pipeline.cli.server import HOST
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.review import review_sheet
from repair_pipeline.reporting.review.app import review_app
from repair_pipeline.reporting.review.desk import Desk
from repair_pipeline.storage.decision_log import DecisionLog
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


def _desk(key: str) -> Desk:
    layout = Layout.current()
    case = Case(stored_spec(layout, key), layout, data_dir(), torch.device("cpu"))
    return Desk(review_sheet(case), DecisionLog(layout, case.id))
