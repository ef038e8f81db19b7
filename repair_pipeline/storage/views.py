"""SQL queries over the stored tables: exactly one SELECT over the views is allowed."""

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
from repair_pipeline.storage.sql_names import free_name, quoted, unique_names
from repair_pipeline.storage.user_columns import register_with_unique_names, user_columns

_HARMLESS_FUNCTIONS = {"range", "generate_series", "unnest"}


def query(layout: Layout, sql: str) -> pa.Table:
    """The result of one SELECT over the views of ``TABLES``.

    The engine can read only the views: the tables are passed to it as Arrow data sets, and its access to files and
    settings is locked before ``sql`` runs.

    Raises:
        InputError: ``sql`` is not one SELECT over the views, or it fails.
    """
    connection = _connection()
    for name, schema in TABLES.items():
        _register(connection, layout, name, schema)
    return _answer(connection, sql, TABLES)


def holds(rows: pa.Table, predicate: str, key: str) -> list[bool]:
    """Whether a predicate holds, row by row.

    Args:
        rows: the table.
        predicate: an SQL expression over its columns; within it the table is called ``examples``.
        key: the key of the case that holds the predicate, for messages.

    Raises:
        InputError: it is not a valid predicate over the columns of ``rows``.
    """
    names = unique_names(rows.column_names)
    examples = rows.rename_columns(names)
    # Row numbers are a table of their own, and the predicate sees only the user's columns. So these may have any name,
    # and a predicate over all columns, or a subquery, does not see the row numbers.
    number = free_name("number", ["examples", *names], predicate)
    connection = _connection()
    connection.register("examples", examples)
    connection.register(number, pa.table({number: range(len(rows))}))
    # The predicate is on lines of its own, so that a comment at its end does not swallow what follows.
    row = f"SELECT {', '.join(f'examples.{quoted(name)}' for name in names)}"
    condition = f"EXISTS (SELECT 1 FROM ({row}) AS examples WHERE (\n{predicate}\n))"
    sql = f"SELECT {number} FROM examples POSITIONAL JOIN {number} WHERE {condition}"
    try:
        matching = set(_answer(connection, sql, ("examples", number))[number].to_pylist())
    except InputError as error:
        columns = f"columns: {', '.join(names)}"
        if names != rows.column_names:
            columns += "; SQL ignores case, so names that differ only in case have numbers here"
        raise InputError(f"{key} is {predicate!r}: {error}; {columns}") from error
    return [number in matching for number in range(len(rows))]


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
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)
