"""Two nights at once, with the state of Dagster and MLflow in Postgres, as docs/deployment.md says."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
import yaml

from repair_pipeline.cli.server import HOST
from repair_pipeline.defs.partitions import dagster_instance
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.tracking import store
from repair_pipeline_tests.docs.pages import ROOT, blocks
from repair_pipeline_tests.faults.bench import rows
from repair_pipeline_tests.faults.nights import SPEC
from repair_pipeline_tests.ports import free_port
from repair_pipeline_tests.services.servers import PASSWORD, USER, Postgres, TeamServer, postgres

pytestmark = pytest.mark.services

PAGE = list(blocks(ROOT / "docs/deployment.md"))
TEMPLATES = ("north", "south")
SECONDS = 900


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        for name in ("dagster", "mlflow"):
            server.query("postgres", f"CREATE DATABASE {name}")
        yield server


@pytest.fixture(scope="module")
def home(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A home that uses the team's servers, with two templates that have failures."""
    folder = tmp_path_factory.mktemp("team")
    layout = Layout(folder / "home")
    layout.dagster_home.mkdir(parents=True)
    [settings] = [block for block in PAGE if block.language == "yaml"]
    (layout.dagster_home / "dagster.yaml").write_text(settings.content)
    backend = f"postgresql+psycopg2://{USER}:{quote(PASSWORD)}@{HOST}:{database.port}/mlflow"
    server = TeamServer(folder, backend)
    server.start()
    variables = {
        "PG_HOST": HOST,
        "PG_PORT": str(database.port),
        "PG_USER": USER,
        "PG_PASSWORD": PASSWORD,
        "REPAIR_HOME": str(layout.home),
        "DAGSTER_HOME": str(layout.dagster_home),
        "REPAIR_NIGHTLY": "* * * * *",
        store.TRACKING: server.url,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        _write_templates(folder)
        yield layout
    server.stop()


def _write_templates(folder: Path) -> None:
    rows(80, 1, flipped=True).to_csv(folder / "train.csv", index=False)
    tests = rows(600, 2, flipped=False)
    tests.to_csv(folder / "test.csv", index=False)
    failing = tests[(tests["scanner"] == "B") & (tests["label"] == "sick")]
    failing.to_csv(folder / "failing.csv", columns=["row"], index=False)
    for copied in ("workspace.yaml", "repair_pipeline_tests/faults/net.py"):
        shutil.copy(ROOT / copied, folder)
    for name in TEMPLATES:
        spec = SPEC | {"name": name, "model": {"factory": "net:Net"}, "nightly": {"failures": "failing.csv"}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec))
        _repair(folder, "nightly", "add", f"{name}.yaml")


def _repair(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "repair_pipeline.cli.main", *arguments], cwd=folder, check=True)


@contextmanager
def _serving(folder: Path) -> Iterator[None]:
    """The commands of the page that serve Dagster, on another port."""
    port = str(free_port())
    commands = [
        line.replace("3000", port).split()
        for block in PAGE
        for line in block.content.splitlines()
        if line.startswith("dagster-")
    ]
    assert [command[0] for command in commands] == ["dagster-webserver", "dagster-daemon"]
    with ExitStack() as stack:
        for name, *arguments in commands:
            log = stack.enter_context(open(folder / f"{name}.log", "wb"))
            process = stack.enter_context(
                subprocess.Popen([Path(sys.executable).with_name(name), *arguments], cwd=folder, stdout=log, stderr=log)
            )
            stack.callback(process.terminate)
        yield


def test_two_nights_run_at_once_and_both_states_are_in_postgres(home: Layout, database: Postgres) -> None:
    folder = home.home.parent
    with dagster_instance(home) as instance, _serving(folder):
        _repair(folder, "nightly", "on")
        until = time.monotonic() + SECONDS
        while len(ended := _ended(instance)) < len(TEMPLATES):
            assert time.monotonic() < until, (folder / "dagster-daemon.log").read_text()
            time.sleep(1)
        _repair(folder, "nightly", "off")
        first, second = sorted(ended, key=lambda run: run.start_time or 0)
        assert {run.dagster_run.tags["repair.template"] for run in ended} == set(TEMPLATES)
        assert [_failures(instance, run) for run in ended] == [[], []]
        assert second.start_time is not None
        assert first.end_time is not None
        assert second.start_time < first.end_time
    verdicts = query(home, "SELECT DISTINCT case_id FROM verdicts ORDER BY case_id").column("case_id").to_pylist()
    assert [case.split("-")[0] for case in verdicts] == list(TEMPLATES)
    [(runs,)] = database.query("dagster", "SELECT count(*) FROM runs WHERE status = 'SUCCESS'")
    assert runs == len(TEMPLATES)
    [(tracked,)] = database.query("mlflow", "SELECT count(DISTINCT value) FROM tags WHERE key = 'repair.case_id'")
    assert tracked == len(TEMPLATES)
    assert not list(home.home.rglob("*.db"))


def _ended(instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    return [record for record in instance.get_run_records() if record.dagster_run.is_finished]


def _failures(instance: dg.DagsterInstance, run: dg.RunRecord) -> list[str]:
    """What its failed steps say."""
    entries = instance.all_logs(run.dagster_run.run_id, dg.DagsterEventType.STEP_FAILURE)
    return [str(entry.get_dagster_event().step_failure_data.error_display_string) for entry in entries]
