"""Where MLflow keeps runs and models: a SQLite store in ``home``, or the servers of MLflow's own variables."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import mlflow
import sqlalchemy
from mlflow import MlflowClient
from mlflow.db import upgrade
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_latest_schema_revision  # MLflow has no public name for it
from mlflow.store.entities import PagedList

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import aside, clear_aside
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import locked

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
"""MLflow's own variables: where runs are logged, and where models are registered if that is another place."""

_T = TypeVar("_T")
_DATABASES = ("postgresql", "mysql", "mssql")


class UnansweredError(InputError):
    """The server of runs or of models does not answer, or refuses."""


def tracking_uri(layout: Layout) -> str:
    """URI of the runs: the variable ``MLFLOW_TRACKING_URI``, else the SQLite store below ``home``."""
    return _without_user(os.environ.get(TRACKING, "")) or embedded_uri(layout)


def registry_uri(layout: Layout) -> str:
    """URI of the registered models: the variable ``MLFLOW_REGISTRY_URI``, else that of the runs."""
    return _without_user(os.environ.get(REGISTRY, "")) or tracking_uri(layout)


def _without_user(uri: str) -> str:
    """The address of a server without user name and password, so that no message can show them."""
    return re.sub(r"://[^/]*@", "://", uri) if is_server(uri) else uri


def _sign_in() -> None:
    """Hand user name and password of a server's address to MLflow in its own variables, unless these are set."""
    uri = os.environ.get(TRACKING, "")
    if not is_server(uri):
        return
    given = urlsplit(uri)
    for name, value in (("USERNAME", given.username), ("PASSWORD", given.password)):
        if value:
            os.environ.setdefault(f"MLFLOW_TRACKING_{name}", unquote(value))


def embedded(layout: Layout) -> bool:
    """Whether the runs are in the SQLite store below ``home``."""
    return tracking_uri(layout) == embedded_uri(layout)


def every(ask: Callable[[str | None], PagedList[_T]]) -> Iterator[_T]:
    """Every result of a search of MLflow, which answers page by page.

    Args:
        ask: the search, given the token of a page; None: of the first.
    """
    token = None
    while token != "":
        page = ask(token)
        yield from page
        token = page.token or ""


def has_store(layout: Layout) -> bool:
    """Whether there is a store of runs: opening the embedded one would create it."""
    return not embedded(layout) or (layout.mlflow / "mlflow.db").exists()


def embedded_uri(layout: Layout) -> str:
    """URI of the SQLite store below ``home``."""
    return f"sqlite:///{addressable(layout.mlflow) / 'mlflow.db'}"


def masked(text: str) -> str:
    """The text with the user names, passwords and queries of its URLs replaced by ``***``."""
    without_user = re.sub(r"(://)[^/\s]*@", r"\1***@", text)
    return re.sub(r"(://[^\s?'\"]*)\?[^\s'\"]+", r"\1?***", without_user)


def runs_page() -> str:
    """Address of MLflow's pages of runs: the server's own, else that of ``repair ui`` on loopback."""
    return _page(_without_user(os.environ.get(TRACKING, "")))


def models_page() -> str:
    """Address of MLflow's pages of registered models."""
    return _page(_without_user(os.environ.get(REGISTRY) or os.environ.get(TRACKING, "")))


def _page(uri: str) -> str:
    if is_server(uri):
        return uri.rstrip("/")
    return f"http://127.0.0.1:{read_settings().mlflow_port}"


def is_server(uri: str) -> bool:
    """Whether the URI is that of an MLflow server, which has pages of its own."""
    return uri.startswith(("http://", "https://"))


def open_store(layout: Layout) -> MlflowClient:
    """A client of MLflow's stores. The embedded one is created if missing, while other processes wait.

    Raises:
        UnansweredError: a server of MLflow's variables does not answer, or refuses.
        InputError: the embedded store cannot be used by this version of MLflow.
    """
    uri, models = tracking_uri(layout), registry_uri(layout)
    _sign_in()
    if embedded(layout):
        _make_store(layout)
    _require_answers(uri, models)
    return MlflowClient(uri, models)


def require_answering(layout: Layout) -> None:
    """Refuse work whose results could not be logged at its end.

    Raises:
        UnansweredError: MLflow's variables name a server that does not answer, or refuses.
    """
    if not embedded(layout) or os.environ.get(REGISTRY):
        open_store(layout)


@contextmanager
def using(layout: Layout) -> Iterator[MlflowClient]:
    """Let MLflow's functions use the stores; afterwards they use what they used before."""
    client = open_store(layout)
    variables = {name: os.environ.get(name) for name in (TRACKING, REGISTRY)}
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri(layout))
    try:
        yield client
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None is: not set
        for name, value in variables.items():  # MLflow sets its variable, which would look like the user's
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@cache
def _require_answers(uri: str, models: str) -> None:
    with _impatient():
        _require_answer(uri, TRACKING, lambda: MlflowClient(uri, models).search_experiments(max_results=1))
        _require_answer(
            models,
            TRACKING if models == uri else REGISTRY,
            lambda: MlflowClient(uri, models).search_registered_models(max_results=1),
        )


def _require_answer(uri: str, variable: str, ask: Callable[[], object]) -> None:
    try:
        if uri.startswith(_DATABASES):  # MLflow itself would try for minutes
            with closing(sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect()):
                pass
        ask()
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        reason = masked(one_line(error).replace(uri, masked(uri)))
        raise UnansweredError(
            f"MLflow's store {masked(uri)} ({variable}) does not answer, or refuses: {reason}; "
            f"start it, or unset {variable} to use the one in REPAIR_HOME"
        ) from None  # the cause may show a password


@contextmanager
def _impatient() -> Iterator[None]:
    """Let a server answer within seconds; while a case runs, MLflow waits for some minutes."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "15"}
    given = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            del os.environ[name]


@cache
def _make_store(layout: Layout) -> None:
    """Create the embedded store, or migrate it, while other processes wait.

    The database is made aside and moved into place: a killed process leaves nothing that looks like a store.

    Raises:
        InputError: it cannot be read; or it is in use, and MLflow cannot migrate it.
    """
    for name in ("mlflow", "alembic"):  # which log every step
        logging.getLogger(name).setLevel(logging.WARNING)
    layout.mlflow.mkdir(parents=True, exist_ok=True)
    database = layout.mlflow / "mlflow.db"
    with locked(layout.mlflow / ".mlflow.db.lock", database):
        clear_aside(layout.mlflow)
        if _schema(database) != _get_latest_schema_revision():
            with aside(addressable(layout.mlflow)) as folder:
                made = folder / database.name
                _make_database(database, made)
                os.replace(made, database)
        MlflowClient(embedded_uri(layout)).search_experiments(max_results=1)  # makes the default experiment


def _make_database(earlier: Path, made: Path) -> None:
    """Make a database of today's schema from an earlier one; from nothing, if it is not in use."""
    if _in_use(earlier):
        with closing(sqlite3.connect(earlier)) as source, closing(sqlite3.connect(made)) as copy:
            source.backup(copy)
        try:
            _upgrade(made)
        except Exception as error:  # a migration raises whatever its database does
            raise InputError(
                f"{earlier} is of another version of MLflow, and migrating a copy of it failed ({one_line(error)}): "
                "it is unchanged; install the version that made it, or move it away"
            ) from error
    else:
        _upgrade(made)


def _upgrade(database: Path) -> None:
    assert upgrade.callback is not None  # the command's function, as the command itself takes Ctrl-C for an error
    upgrade.callback(f"sqlite:///{database}")


def _schema(database: Path) -> str | None:
    """The revision of a database's schema; None if there is none."""
    return _first(database, "alembic_version", "version_num")


def _in_use(database: Path) -> bool:
    """Whether it holds a run or a model. If not, its first migration may not have been finished."""
    return any(_first(database, table, "1") is not None for table in ("runs", "registered_models"))


def _first(database: Path, table: str, value: str) -> str | None:
    """A value of the first row of a table; None if there is no database, no table, or no row."""
    if not database.exists():  # connecting would create it
        return None
    try:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone():
                return None
            row = connection.execute(f"SELECT {value} FROM {table}").fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{database} cannot be read ({error}): move it away, or restore it") from error
    return None if row is None else str(row[0])
