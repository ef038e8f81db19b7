"""Ports that are taken, and servers that stop all their processes."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from repair_pipeline.cli import server, ui
from repair_pipeline.errors import InputError
from repair_pipeline.settings import read_settings
from repair_pipeline_tests.ports import free_port


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind((server.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_before_anything_is_written(taken: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"port {taken} of .* give another --mlflow-port"):
        ui.serve(read_settings(home=tmp_path, dagster_port=free_port(), mlflow_port=taken))
    assert list(tmp_path.iterdir()) == []


def gone_within(seconds: float, group: int) -> bool:
    """Whether the last of a process group's children is gone in time: init reaps them when it gets to it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("port", [70_000, -1])
def test_an_invalid_port_is_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"^--dagster-port cannot be {port}: .* equal to"):
        read_settings(dagster_port=port)


def test_both_pages_on_one_port_are_refused(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(InputError, match="give another --mlflow-port"):
        ui.serve(read_settings(home=tmp_path, dagster_port=port, mlflow_port=port))


def test_a_server_that_ends_names_its_log(tmp_path: Path) -> None:
    dead = served(tmp_path, [sys.executable, "-c", "print('no'); raise SystemExit(1)"])
    with dead.running(os.environ) as process, pytest.raises(InputError, match=str(dead.log)):
        dead.wait_until_it_answers(process)
    assert dead.log.read_text() == "no\n"


def test_a_server_is_stopped_with_all_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_STOP_SECONDS", 0.5)
    stubborn = served(tmp_path, ["bash", "-c", "trap '' INT; sleep 300 & sleep 300"])
    with stubborn.running(os.environ) as process:
        os.killpg(process.pid, 0)
    assert gone_within(30, process.pid)


def test_a_server_answers_on_loopback(tmp_path: Path) -> None:
    port = free_port()
    here = served(tmp_path, [sys.executable, "-m", "http.server", str(port), "--bind", server.HOST], port)
    with here.running(os.environ) as process:
        here.wait_until_it_answers(process)
        assert process.poll() is None


def served(tmp_path: Path, command: list[str], port: int = 1) -> server.Server:
    return server.Server("Test", command, port, "/", "/", tmp_path / "server.log")
