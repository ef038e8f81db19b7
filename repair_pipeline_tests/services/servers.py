"""A team's servers on loopback, each with its state in a folder: Postgres, and MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.error import URLError
from urllib.request import urlopen

import psycopg2
import pytest

from repair_pipeline.cli.server import HOST
from repair_pipeline.tracking import store
from repair_pipeline_tests.ports import free_port

USER, PASSWORD = "repair", "a secret"


class TeamServer:
    """An MLflow server whose state is in a folder, or in the database of another URI."""

    def __init__(self, folder: Path, backend: str | None = None) -> None:
        self.port = free_port()
        self.url, self._folder = f"http://{HOST}:{self.port}", folder
        self._backend = backend or f"sqlite:///{folder}/team.db"

    def start(self) -> None:
        """Return once it answers."""
        command = [sys.executable, "-m", "mlflow", "server", f"--host={HOST}", f"--port={self.port}", "--workers=1"]
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": self._backend,
            "MLFLOW_ARTIFACTS_DESTINATION": f"{self._folder}/files",
        }
        environment.pop(store.TRACKING, None)
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until = time.monotonic() + 600
        while time.monotonic() < until:
            try:
                with urlopen(f"{self.url}/health", timeout=5):
                    return
            except (URLError, OSError):
                assert self._process.poll() is None, (self._folder / "server.log").read_text()
                time.sleep(0.3)
        self.stop()
        raise TimeoutError(self.url)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)


@dataclass(frozen=True)
class Postgres:
    """A Postgres server that asks for a password."""

    port: int

    def query(self, database: str, statement: str) -> Sequence[tuple[object, ...]]:
        """The rows of a statement's answer."""
        connection = psycopg2.connect(host=HOST, port=self.port, user=USER, password=PASSWORD, dbname=database)
        connection.autocommit = True  # a database is not created in a transaction
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Debian's Postgres on a free port; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("no Postgres in /usr/lib/postgresql: apt-get install postgresql")
    folder, port = Path(mkdtemp(prefix="postgres-")), free_port()
    owner = "postgres" if os.getuid() == 0 else None  # it refuses to be run by root
    if owner:
        shutil.chown(folder, owner)

    def run(program: str, *arguments: str) -> None:
        subprocess.run([found[-1] / program, f"--pgdata={folder}/data", *arguments], user=owner, cwd="/", check=True)

    (folder / "password").write_text(PASSWORD)
    run("initdb", f"--username={USER}", "--auth=scram-sha-256", f"--pwfile={folder}/password")
    run("pg_ctl", "start", "--wait", f"--log={folder}/log", f"--options=-h {HOST} -p {port} -k {folder}")
    try:
        yield Postgres(port)
    finally:
        run("pg_ctl", "stop", "--mode=immediate")
        shutil.rmtree(folder)
