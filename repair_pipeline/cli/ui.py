"""``repair ui``: Dagster's and MLflow's pages on loopback, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from repair_pipeline.cli.server import HOST, Server
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.defs.switches import WORKSPACE, require_cron_line
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import stored_cases
from repair_pipeline.settings import Settings
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.store import (
    is_server,
    open_store,
    registry_uri,
    require_answering,
    runs_page,
    tracking_uri,
)


def serve(settings: Settings) -> None:
    """Serve both pages until Ctrl-C or SIGTERM. If the team has an MLflow server, only Dagster's.

    Raises:
        InputError: a port is taken, a server does not start or answer, or the setting ``nightly`` is not a cron
            expression.
    """
    layout, dagster_port, mlflow_port = Layout(settings.home), settings.dagster_port, settings.mlflow_port
    require_cron_line(settings.nightly)
    elsewhere = is_server(tracking_uri(layout))
    _require_free(**{"--dagster-port": dagster_port, **({} if elsewhere else {"--mlflow-port": mlflow_port})})
    require_answering(layout)
    with dagster_instance(layout) as instance:
        register_cases(instance, layout, stored_cases(layout))
    open_store(layout)
    servers = [_dagster(layout, dagster_port), *([] if elsewhere else [_mlflow(layout, mlflow_port)])]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(addressable(layout.dagster_home)),
        **settings.variables(),  # among them the ports, which the pages' links use
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(layout),  # not an argument, which every user of the machine can read
        "MLFLOW_REGISTRY_STORE_URI": registry_uri(layout),
        "MLFLOW_ARTIFACTS_DESTINATION": str(addressable(layout.mlflow) / "artifacts"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves a dozen unused processes
    }
    # A shell that starts this in the background makes it ignore Ctrl-C.
    _handle_stop_signals(signal.default_int_handler)
    try:
        with ExitStack() as stack:
            processes = [stack.enter_context(server.running(environment)) for server in servers]
            stack.callback(_handle_stop_signals, signal.SIG_IGN)  # a second Ctrl-C must not leave a process behind
            print(f"starting {' and '.join(server.name for server in servers)} ...", flush=True)
            for server, process in zip(servers, processes, strict=True):
                server.wait_until_it_answers(process)
                print(f"{server.name:<8} http://{HOST}:{server.port}{server.page}", flush=True)
            if elsewhere:
                print(f"{'MLflow':<8} {runs_page()}", flush=True)
            print(f"Ctrl-C stops {'Dagster' if elsewhere else 'both'}", flush=True)
            _watch(servers, processes)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)


def _handle_stop_signals(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _dagster(layout: Layout, port: int) -> Server:
    dg = Path(sys.executable).with_name("dg")
    command = [str(dg), "dev", "--workspace", str(WORKSPACE), "--host", HOST, "--port", str(port)]
    return Server("Dagster", command, port, "/server_info", "/asset-groups", layout.dagster_home / "server.log")


def _mlflow(layout: Layout, port: int) -> Server:
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return Server(
        "MLflow", command, port, "/health", "/#/experiments?workflowType=machine_learning", layout.mlflow / "server.log"
    )


def _require_free(**ports: int) -> None:
    with ExitStack() as stack:  # both stay bound until both are checked, so that one port given twice is noticed
        for option, port in ports.items():
            probe = stack.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen()
            except (OSError, OverflowError) as error:
                raise InputError(
                    f"cannot listen on port {port} of {HOST} ({error}): stop what uses it, or give another {option}"
                ) from error


def _watch(servers: list[Server], processes: list[subprocess.Popen[bytes]]) -> None:
    while all(process.poll() is None for process in processes):
        time.sleep(0.5)
    ended = next(server for server, process in zip(servers, processes, strict=True) if process.poll() is not None)
    raise InputError(f"{ended.name} has ended, so everything was stopped: see its log {ended.log}")
