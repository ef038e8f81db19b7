"""Users' own columns in the view ``examples``, over all cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from repair_pipeline.storage.sql_names import folded, quoted, unique_names


def user_columns(known: Sequence[str], folder: Path) -> pa.Schema:
    """The columns of files below ``folder`` that are not in ``known``; as text if files differ in the type."""
    columns: dict[str, pa.DataType] = {}
    for file in _files(folder):
        for field in pq.read_schema(file):
            if field.name not in known:
                same_type = columns.get(field.name, field.type) == field.type
                columns[field.name] = field.type if same_type else pa.string()
    return pa.schema(list(columns.items()))


def register_with_unique_names(
    connection: duckdb.DuckDBPyConnection, view: str, data: ds.Dataset, known: Sequence[str], folder: Path
) -> None:
    """Register a view with column names that are unique to SQL, which ignores case.

    If cases spell a column differently (``Site``, ``site``), their values are merged under the first spelling. If one
    case has both, or if the name equals one of ``known``, each of the user's columns gets a number (``Site_1``).

    Args:
        connection: where the view is registered.
        view: its name.
        data: its rows.
        known: names of the pipeline's columns, which are kept.
        folder: the folder of the files of ``data``.
    """
    own = [name for name in data.schema.names if name not in known]
    spellings: dict[str, list[str]] = {}
    for name in own:
        spellings.setdefault(folded(name), []).append(name)
    if len(spellings) == len(own) and not spellings.keys() & {folded(name) for name in known}:
        connection.register(view, data)
        return
    file_columns = [set(pq.read_schema(file).names) for file in _files(folder)]
    mergeable = [
        names for names in spellings.values() if not any(len(columns & set(names)) > 1 for columns in file_columns)
    ]
    merged = {name: names[0] for names in mergeable for name in names}
    shown = list(dict.fromkeys(merged.get(name, name) for name in own))
    stored = f"stored_{view}"
    connection.register(stored, data)
    # DuckDB has renamed columns whose names it treats as equal, but kept their order.
    stored_names = dict(zip(data.schema.names, connection.table(stored).columns, strict=True))
    columns = [quoted(name) for name in known]
    for name, title in zip(shown, unique_names(shown, known), strict=True):
        same = [other for other in own if merged.get(other, other) == name]
        sources = [quoted(stored_names[other]) for other in same]
        if len({data.schema.field(other).type for other in same}) > 1:
            sources = [f"CAST({source} AS VARCHAR)" for source in sources]
        columns.append(f"COALESCE({', '.join(sources)}) AS {quoted(title)}")
    connection.execute(f"CREATE TEMP VIEW {quoted(view)} AS SELECT {', '.join(columns)} FROM {quoted(stored)}")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("case_id=*/*.parquet"))
