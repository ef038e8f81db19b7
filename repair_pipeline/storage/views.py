"""SQL over the stored tables: one SELECT over the views, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.schemas import TABLES

_HARMLESS_FUNCTIONS = {"range", "generate_series", "unnest"}


def query(layout: Layout, sql: str) -> pa.Table:
    """The answer to one SELECT over the views of ``TABLES``.

    The engine itself can reach nothing but the views: the tables are handed to it as Arrow data sets, and its access to
    files and settings is locked before ``sql`` is run.

    Raises:
        InputError: ``sql`` is not one SELECT over the views, or it fails.
    """
    return _answer({name: _dataset(layout, name, schema) for name, schema in TABLES.items()}, sql)


def holds(rows: pa.Table, predicate: str, key: str) -> list[bool]:
    """Which rows a predicate holds for.

    Args:
        key: the key of the case that says so, for the message.

    Raises:
        InputError: it is no predicate over the columns of ``rows``.
    """
    numbered = rows.append_column("row_number", pa.array(range(len(rows))))
    # On lines of its own, so that a comment at its end does not reach what follows.
    sql = f"SELECT row_number FROM examples WHERE (\n{predicate}\n)"
    try:
        found = set(_answer({"examples": numbered}, sql)["row_number"].to_pylist())
    except InputError as error:
        raise InputError(f"{key} is {predicate!r}: {error}; columns: {', '.join(rows.column_names)}") from error
    return [number in found for number in range(len(rows))]


def _answer(tables: Mapping[str, ds.Dataset | pa.Table], sql: str) -> pa.Table:
    connection = duckdb.connect(config={"python_enable_replacements": "false"})
    for name, table in tables.items():
        connection.register(name, table)
    connection.execute("SET enable_external_access=false; SET lock_configuration=true")
    try:
        _require_select_over_views(connection, sql, tables)
        return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise InputError(f"the query fails: {' '.join(str(error).split())}") from error


def _dataset(layout: Layout, name: str, schema: pa.Schema) -> ds.Dataset | pa.Table:
    folder = layout.results / name
    if not folder.is_dir():
        return schema.empty_table()
    if name == "examples":
        schema = _with_own_columns(schema, folder)
    keys = pa.schema([schema.field(key) for key in ("case_id", "method") if key in _path_keys(name)])
    return ds.dataset(folder, schema=schema, partitioning=ds.partitioning(keys, flavor="hive"), format="parquet")


def _with_own_columns(schema: pa.Schema, folder: Path) -> pa.Schema:
    """The columns of every owner's data too, null for who has them not; as text where two differ in kind."""
    own: dict[str, pa.DataType] = {}
    for file in sorted(folder.glob("case_id=*/*.parquet")):
        for field in pq.read_schema(file):
            if field.name not in schema.names:
                own[field.name] = field.type if own.get(field.name, field.type) == field.type else pa.string()
    for name, kind in own.items():
        schema = schema.append(pa.field(name, kind))
    return schema


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
