"""The owners' columns of every case, beside those of the view ``examples``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from repair_pipeline.storage.sql_names import apart, folded, quoted


def user_columns(known: Sequence[str], folder: Path) -> pa.Schema:
    """The columns that files below ``folder`` have beyond those known; as text where two files differ in kind."""
    own: dict[str, pa.DataType] = {}
    for file in _files(folder):
        for field in pq.read_schema(file):
            if field.name not in known:
                own[field.name] = field.type if own.get(field.name, field.type) == field.type else pa.string()
    return pa.schema(list(own.items()))


def register_apart(
    connection: duckdb.DuckDBPyConnection, view: str, data: ds.Dataset, known: Sequence[str], folder: Path
) -> None:
    """Make a view of data, under names that SQL tells apart.

    Owners who write one column in two ways (``Site``, ``site``) have it in one, under the first of these names. Where
    one owner has both, or hers is called as one of ours, each of hers has its number behind it (``Site_1``).
    """
    own = [name for name in data.schema.names if name not in known]
    ways: dict[str, list[str]] = {}
    for name in own:
        ways.setdefault(folded(name), []).append(name)
    if len(ways) == len(own) and not ways.keys() & {folded(name) for name in known}:
        connection.register(view, data)
        return
    in_files = [set(pq.read_schema(file).names) for file in _files(folder)]
    one = [names for names in ways.values() if not any(len(file & set(names)) > 1 for file in in_files)]
    merged = {name: names[0] for names in one for name in names}
    shown = list(dict.fromkeys(merged.get(name, name) for name in own))
    stored = f"stored_{view}"
    connection.register(stored, data)
    # DuckDB has made names of its own for what it cannot tell apart; the order is ours.
    given = dict(zip(data.schema.names, connection.table(stored).columns, strict=True))
    columns = [quoted(name) for name in known]
    for name, title in zip(shown, apart(shown, known), strict=True):
        same = [other for other in own if merged.get(other, other) == name]
        sources = [quoted(given[other]) for other in same]
        if len({data.schema.field(other).type for other in same}) > 1:
            sources = [f"CAST({source} AS VARCHAR)" for source in sources]
        columns.append(f"COALESCE({', '.join(sources)}) AS {quoted(title)}")
    connection.execute(f"CREATE TEMP VIEW {quoted(view)} AS SELECT {', '.join(columns)} FROM {quoted(stored)}")


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("case_id=*/*.parquet"))
