"""SQL over the stored tables: one SELECT over the views, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.sql_names import apart, free_name, quoted
from repair_pipeline.storage.user_columns import register_apart, user_columns

_HARMLESS_FUNCTIONS = {"range", "generate_series", "unnest"}


def query(layout: Layout, sql: str) -> pa.Table:
    """The answer to one SELECT over the views of ``TABLES``.

    The engine itself can reach nothing but the views: the tables are handed to it as Arrow data sets, and its access to
    files and settings is locked before ``sql`` is run.

    Raises:
        InputError: ``sql`` is not one SELECT over the views, or it fails.
    """
    connection = _connection()
    for name, schema in TABLES.items():
        _register(connection, layout, name, schema)
    return _answer(connection, sql, TABLES)


def holds(rows: pa.Table, predicate: str, key: str) -> list[bool]:
    """Which rows a predicate holds for.

    Args:
        key: the key of the case that says so, for the message.

    Raises:
        InputError: it is no predicate over the columns of ``rows``.
    """
    names = apart(rows.column_names)
    examples = rows.rename_columns(names)
    # The numbers are a table of their own, and the predicate stands where only the owner's columns are: these may be
    # called as she likes, and a predicate over all columns, or a query inside it, meets no other.
    number = free_name("number", ["examples", *names], predicate)
    connection = _connection()
    connection.register("examples", examples)
    connection.register(number, pa.table({number: range(len(rows))}))
    # On lines of its own, so that a comment at its end does not reach what follows.
    row = f"SELECT {', '.join(f'examples.{quoted(name)}' for name in names)}"
    held = f"EXISTS (SELECT 1 FROM ({row}) AS examples WHERE (\n{predicate}\n))"
    sql = f"SELECT {number} FROM examples POSITIONAL JOIN {number} WHERE {held}"
    try:
        found = set(_answer(connection, sql, ("examples", number))[number].to_pylist())
    except InputError as error:
        columns = f"columns: {', '.join(names)}"
        if names != rows.column_names:
            columns += "; SQL takes names that differ in case only for one, so here these have numbers"
        raise InputError(f"{key} is {predicate!r}: {error}; {columns}") from error
    return [number in found for number in range(len(rows))]


def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"python_enable_replacements": "false"})


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, views: Collection[str]) -> pa.Table:
    connection.execute("SET enable_external_access=false; SET lock_configuration=true")
    try:
        _require_select_over_views(connection, sql, views)
        return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise InputError(f"the query fails: {' '.join(str(error).split())}") from error


def _register(connection: duckdb.DuckDBPyConnection, layout: Layout, name: str, schema: pa.Schema) -> None:
    folder = layout.results / name
    if not folder.is_dir():
        connection.register(name, schema.empty_table())
        return
    keys = pa.schema([schema.field(key) for key in ("case_id", "method") if key in _path_keys(name)])
    own = user_columns(schema.names, folder) if name == "examples" else pa.schema([])
    every = pa.schema([*schema, *own])
    data = ds.dataset(folder, schema=every, partitioning=ds.partitioning(keys, flavor="hive"), format="parquet")
    register_apart(connection, name, data, schema.names, folder)


def _path_keys(name: str) -> set[str]:
    return {"case_id", "method"} if name == "influence" else {"case_id"}


def _require_select_over_views(connection: duckdb.DuckDBPyConnection, sql: str, views: Collection[str]) -> None:
    statements = duckdb.extract_statements(sql)
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise InputError(f"the query is {' and '.join(kinds) or 'empty'}: give exactly one SELECT statement")
    row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    tree = json.loads(row[0])
    own = {entry["key"] for node in _nodes(tree) for entry in node.get("cte_map", {}).get("map", [])}
    for node in _nodes(tree):
        match node.get("type"):
            case "BASE_TABLE":
                name = node["table_name"]
                if node["schema_name"] or node["catalog_name"] or name not in own | set(views):
                    raise InputError(f"there is no view {name!r}: ask {', '.join(views)}")
            case "TABLE_FUNCTION":
                name = node["function"]["function_name"]
                if name not in _HARMLESS_FUNCTIONS:
                    raise InputError(f"the query calls {name}(): only the views can be read: {', '.join(views)}")
            case "SHOW_REF":
                raise InputError(f"the query shows or describes: give a SELECT over {', '.join(views)}")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
