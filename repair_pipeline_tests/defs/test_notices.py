"""Notices reach webhooks and mail servers, and an address that does not take one is named without its password."""

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from repair_pipeline.defs.notices import notify
from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline_tests.ports import free_port


class Hooks(HTTPServer):
    """A webhook on loopback that keeps what it receives; it refuses every request to the path ``/full``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.received: list[dict[str, Any]] = []


class Hook(BaseHTTPRequestHandler):
    server: Hooks

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        refused = self.path.rstrip("/") == "/full"
        if not refused:
            self.server.received.append(json.loads(body))
        self.send_response(507 if refused else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Write nothing to the terminal."""


class Mailbox:
    """Keeps the messages that a mail server receives."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.received.append(envelope.content)
        return "250 OK"


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, int]]:
    box, port = Mailbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def send(monkeypatch: pytest.MonkeyPatch, folder: Path, *urls: str) -> str:
    monkeypatch.setenv("REPAIR_NOTIFY_URLS", " ".join(urls))
    notify(Layout(folder), "wards-20261125: rejected")
    return Layout(folder).notices.read_text(encoding="utf-8")


def test_a_webhook_and_a_mail_server_receive_the_line_of_the_log(hooks, mail, monkeypatch, tmp_path):
    box, port = mail
    post = f"mailto://127.0.0.1:{port}?from=repair@example.org&to=ada@example.org&format=text"
    line = send(monkeypatch, tmp_path, f"json://127.0.0.1:{hooks.server_port}/repair", post)
    [hook] = hooks.received
    assert (hook["title"], hook["message"].strip()) == ("repair_pipeline", line.strip())
    [message] = map(message_from_bytes, box.received)
    assert message["To"] == "ada@example.org"
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().strip() == line.strip()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("json://ada:secret@127.0.0.1:{port}/full", "json://ada:****@127.0.0.1:"),
        ("nonsense://secret", "address 1, which Apprise does not know"),
    ],
)
def test_a_refusal_names_the_address_without_its_password_and_the_others_are_told(
    url, named, hooks, monkeypatch, tmp_path
):
    with pytest.raises(InputError, match="the notice was not sent to") as refused:
        send(
            monkeypatch,
            tmp_path,
            url.format(port=hooks.server_port),
            f"json://127.0.0.1:{hooks.server_port}/repair",
        )
    assert named in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(hooks.received) == len(Layout(tmp_path).notices.read_text().splitlines()) == 1
