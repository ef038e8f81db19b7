"""SQL queries over the stored tables: exactly one SELECT over the views is allowed."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.limits import TOO_DEEP, Limits, shortened
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.sql_names import free_name, quoted, unique_names
from repair_pipeline.storage.user_columns import register_with_unique_names, user_columns

_HARMLESS_FUNCTIONS = {"range", "generate_series", "unnest"}
_BATCH = 2048
"""Rows that the engine makes at once."""


def query(layout: Layout, sql: str, limits: Limits | None = None) -> pa.Table:
    """The result of one SELECT over the views of ``TABLES``. What a user writes goes through ``asking.ask``.

    The engine can read only the views: the tables are passed to it as Arrow data sets, and its access to files and
    settings is locked before ``sql`` runs.

    Args:
        layout: where the tables are stored.
        sql: the query.
        limits: what it may use; None for our own queries.

    Raises:
        InputError: ``sql`` is not one SELECT over the views, it fails, or it exceeds a limit.
    """
    connection = _connection(limits)
    for name, schema in TABLES.items():
        _register(connection, layout, name, schema)
    return _answer(connection, sql, TABLES, limits)


def holds(rows: pa.Table, predicate: str, key: str, limits: Limits | None = None) -> list[bool]:
    """Whether a predicate holds, row by row. What a user writes goes through ``asking.ask_rows``.

    Args:
        rows: the table.
        predicate: an SQL expression over its columns; within it the table is called ``examples``.
        key: the key of the case that holds the predicate, for messages.
        limits: what it may use, rows apart.

    Raises:
        InputError: it is not a valid predicate over the columns of ``rows``, or it exceeds a limit.
    """
    names = unique_names(rows.column_names)
    examples = rows.rename_columns(names)
    # Row numbers are a table of their own, and the predicate sees only the user's columns. So these may have any name,
    # and a predicate over all columns, or a subquery, does not see the row numbers.
    number = free_name("number", ["examples", *names], predicate)
    connection = _connection(limits)
    connection.register("examples", examples)
    connection.register(number, pa.table({number: range(len(rows))}))
    # The predicate is on lines of its own, so that a comment at its end does not swallow what follows.
    row = f"SELECT {', '.join(f'examples.{quoted(name)}' for name in names)}"
    condition = f"EXISTS (SELECT 1 FROM ({row}) AS examples WHERE (\n{predicate}\n))"
    sql = f"SELECT {number} FROM examples POSITIONAL JOIN {number} WHERE {condition}"
    try:
        within = limits and replace(limits, rows=len(rows))
        matching = set(_answer(connection, sql, ("examples", number), within)[number].to_pylist())
    except InputError as error:
        columns = f"columns: {', '.join(names)}"
        if names != rows.column_names:
            columns += "; SQL ignores case, so names that differ only in case have numbers here"
        raise InputError(f"{key} is {shortened(predicate)!r}: {error}; {columns}") from error
    return [number in matching for number in range(len(rows))]


def _connection(limits: Limits | None) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {"python_enable_replacements": "false"}
    if limits:  # without a folder for temporary files the engine writes none
        config |= {"memory_limit": f"{limits.memory_mb}MiB", "threads": limits.threads, "temp_directory": ""}
    return duckdb.connect(config=config)


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, views: Collection[str], limits: Limits | None) -> pa.Table:
    connection.execute("SET enable_external_access=false; SET lock_configuration=true")
    try:
        with _timed(connection, limits.seconds) if limits else nullcontext():
            _require_select_over_views(connection, sql, views)
            relation = connection.sql(sql)
            return _within(relation.to_arrow_reader(_BATCH), limits) if limits else relation.to_arrow_table()
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # the reader raises Arrow's and OSError with its text
        raise InputError(f"the query fails: {_reason(error, limits)}") from error
    except RecursionError as error:
        raise InputError(f"the query fails: {TOO_DEEP}") from error


@contextmanager
def _timed(connection: duckdb.DuckDBPyConnection, seconds: int) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _within(answer: pa.RecordBatchReader, limits: Limits) -> pa.Table:
    batches, rows = [], 0
    for batch in answer:
        batches.append(batch)
        rows += len(batch)
        if rows > limits.rows:
            raise InputError(f"the query fails: {limits.too_many}")
    return pa.Table.from_batches(batches, answer.schema)


def _reason(error: Exception, limits: Limits | None) -> str:
    text = " ".join(str(error).split())
    if limits and text.startswith("INTERRUPT Error"):
        return limits.too_long
    if limits and (isinstance(error, MemoryError) or text.startswith("Out of Memory Error")):
        return limits.too_large
    return TOO_DEEP if "Max expression depth limit" in text else text


def _register(connection: duckdb.DuckDBPyConnection, layout: Layout, name: str, schema: pa.Schema) -> None:
    folder = layout.results / name
    if not folder.is_dir():
        connection.register(name, schema.empty_table())
        return
    keys = pa.schema([schema.field(key) for key in _path_keys(name)])
    own_columns = user_columns(schema.names, folder) if name == "examples" else pa.schema([])
    all_columns = pa.schema([*schema, *own_columns])
    data = ds.dataset(folder, schema=all_columns, partitioning=ds.partitioning(keys, flavor="hive"), format="parquet")
    register_with_unique_names(connection, name, data, schema.names, folder)


def _path_keys(name: str) -> tuple[str, ...]:
    return {"influence": ("case_id", "method"), "attribution": ("study", "data")}.get(name, ("case_id",))


def _require_select_over_views(connection: duckdb.DuckDBPyConnection, sql: str, views: Collection[str]) -> None:
    statements = duckdb.extract_statements(sql)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise InputError(f"the query is {' and '.join(kinds) or 'empty'}: give exactly one SELECT statement")
    row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    tree = json.loads(row[0])
    own_names = {entry["key"] for node in _nodes(tree) for entry in node.get("cte_map", {}).get("map", [])}
    for node in _nodes(tree):
        match node.get("type"):
            case "BASE_TABLE":
                name = node["table_name"]
                if node["schema_name"] or node["catalog_name"] or name not in own_names | set(views):
                    raise InputError(f"there is no view {name!r}: select from {', '.join(views)}")
            case "TABLE_FUNCTION":
                name = node["function"]["function_name"]
                if name not in _HARMLESS_FUNCTIONS:
                    raise InputError(f"the query calls {name}(), but it may only read the views {', '.join(views)}")
            case "SHOW_REF":
                raise InputError(f"the query uses SHOW, DESCRIBE or SUMMARIZE: give a SELECT over {', '.join(views)}")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        tree = waiting.pop()
        if isinstance(tree, dict):
            yield tree
            waiting.extend(tree.values())
        elif isinstance(tree, list):
            waiting.extend(tree)
