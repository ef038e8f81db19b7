"""MLflow's store in a new home, killed while it is made. Concurrent processes: defs/test_partitions.py."""

import os
import signal
import sqlite3
from contextlib import closing

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking import store
from repair_pipeline.tracking.store import open_store
from repair_pipeline_tests.racing import killed, killed_at_statement

STATEMENTS = 600
"""Fewer than a first use makes."""


def test_the_store_is_created_in_a_home_of_any_name(tmp_path):
    name = "what? feature%2Flabels it's [x] * # ; & + : = é"
    layout = Layout(tmp_path / name)
    client = open_store(layout)
    location = (layout.mlflow / "artifacts").as_uri()
    run = client.create_run(client.create_experiment("one", artifact_location=location))
    client.log_text(run.info.run_id, "text", "a.txt")
    assert (layout.mlflow / "mlflow.db").is_file()
    assert [path.read_text() for path in layout.mlflow.rglob("a.txt")] == ["text"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["a.txt"]


def killed_before_the_move(layout: Layout) -> None:
    store.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    open_store(layout)


def test_a_first_use_that_is_killed_leaves_nothing_half_migrated(tmp_path):
    layout = Layout(tmp_path)
    database = layout.mlflow / "mlflow.db"
    for number in (1, STATEMENTS // 2, STATEMENTS):
        assert killed(killed_at_statement, number, open_store, layout)
        assert not database.exists()
    assert killed(killed_before_the_move, layout)
    assert not database.exists()
    assert open_store(layout).search_registered_models() == []
    assert sorted(path.name for path in layout.mlflow.iterdir()) == ["mlflow.db"]


def test_a_store_that_an_earlier_version_left_half_migrated_is_made_anew(tmp_path):
    layout = Layout(tmp_path)
    layout.mlflow.mkdir()
    database = layout.mlflow / "mlflow.db"
    assert killed(killed_at_statement, STATEMENTS // 2, store._upgrade, database)
    assert store._schema(database) != _get_latest_schema_revision()
    assert len(open_store(layout).search_experiments()) == 1


def earlier_store(layout: Layout, revision: str) -> None:
    client = open_store(layout)
    client.create_run("0")
    with closing(sqlite3.connect(layout.mlflow / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    store._make_store.cache_clear()


def test_a_store_with_runs_is_not_changed_if_it_cannot_be_migrated(tmp_path):
    layout = Layout(tmp_path)
    earlier_store(layout, "451aebb31d03")  # the first revision, whose tables are there already
    before = (layout.mlflow / "mlflow.db").read_bytes()
    with pytest.raises(InputError, match=r"another version of MLflow, and migrating a copy of it failed .* unchanged"):
        open_store(layout)
    assert (layout.mlflow / "mlflow.db").read_bytes() == before
    assert [path.name for path in layout.mlflow.iterdir()] == ["mlflow.db"]


def test_a_store_of_an_earlier_version_keeps_its_runs(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    earlier_store(layout, _get_latest_schema_revision())
    monkeypatch.setattr(store, "_schema", lambda database: "an earlier one")
    assert len(open_store(layout).search_runs(["0"])) == 1


def test_a_file_that_is_no_database_is_refused(tmp_path):
    layout = Layout(tmp_path)
    layout.mlflow.mkdir()
    (layout.mlflow / "mlflow.db").write_text("no database, but some text that is longer than a header" * 9)
    with pytest.raises(InputError, match=r"mlflow\.db cannot be read \(file is not a database\): move it away"):
        open_store(layout)


@pytest.fixture
def nobody(monkeypatch):
    """A port of loopback on which no server answers."""
    monkeypatch.setenv(store.TRACKING, "http://ada:secret@127.0.0.1:9/mlflow")
    yield "http://127.0.0.1:9/mlflow"
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        os.environ.pop(name, None)


def test_a_server_that_does_not_answer_is_one_line_without_its_password(tmp_path, nobody):
    with pytest.raises(InputError) as refused:
        store.require_answering(Layout(tmp_path))
    assert str(refused.value).startswith(f"MLflow's store {nobody} (MLFLOW_TRACKING_URI) does not answer, or refuses: ")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert len(str(refused.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("ada", "secret")
    assert store.runs_page() == store.models_page() == nobody


def test_a_database_without_its_driver_or_server_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(store.TRACKING, "postgresql://ada:secret@127.0.0.1:9/mlflow?sslpassword=other")
    with pytest.raises(InputError, match=r"^MLflow's store postgresql://\*\*\*@127.0.0.1:9/mlflow\?\*\*\* ") as refused:
        open_store(Layout(tmp_path))
    assert "secret" not in str(refused.value)
    assert "other" not in str(refused.value).split("(MLFLOW")[0]


def test_the_home_needs_no_answer(tmp_path):
    store.require_answering(Layout(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_registry_of_its_own_must_answer(tmp_path, monkeypatch):
    monkeypatch.setenv(store.REGISTRY, "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"http://127.0.0.1:9 \(MLFLOW_REGISTRY_URI\) does not answer"):
        store.require_answering(Layout(tmp_path))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://ada:p@ss@host/path", "https://***@host/path"),
        ("postgresql+psycopg2://ada:x@host/db?sslpassword=y", "postgresql+psycopg2://***@host/db?***"),
        ("curl -s https://hooks.org/T0?token=abc -d @-", "curl -s https://hooks.org/T0?*** -d @-"),
        ("sqlite:////home/ada/mlflow.db", "sqlite:////home/ada/mlflow.db"),
    ],
)
def test_secrets_in_urls_are_masked(text, shown):
    assert store.masked(text) == shown


def test_what_mlflow_used_before_is_restored(tmp_path):
    with store.using(Layout(tmp_path / "one")):
        assert mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/one/mlflow/mlflow.db"
    assert store.TRACKING not in os.environ
    with pytest.raises(MlflowException), store.using(Layout(tmp_path / "one")):
        mlflow.get_run("none")
    assert store.TRACKING not in os.environ
