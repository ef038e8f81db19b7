"""Rewriting a table file with rows dropped and labels changed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.datasets.changes import Change, other_columns, positions_of, row_name
from repair_pipeline.datasets.ids import digest
from repair_pipeline.datasets.label_columns import Labels, labels_in
from repair_pipeline.datasets.rewriting_text import rewrite_text, unpatch_text
from repair_pipeline.datasets.table_files import is_text, read_table

Places = tuple[str, ...] | None
"""Class names that integer labels index; None if the values are the classes."""


def rewrite(file: Path, changes: Sequence[Change], label: str, target: Path, places: Places = None) -> None:
    """Write a copy of a table file with changed rows.

    A CSV or JSON lines file keeps every byte of the unchanged lines and fields. A Parquet file keeps its schema,
    metadata, column order, row groups and compression.

    Args:
        file: the original.
        changes: one for every row of ``file``.
        label: the name of the label column.
        target: the file to write.
        places: class names that integer labels index.

    Raises:
        InputError: the changes cannot be made; ``target`` may be half written then.
    """
    if is_text(file):
        rewrite_text(file, changes, label, target)
    else:
        _rewrite_parquet(file, changes, label, target, places)


def unpatch(
    original: Path,
    changes: Mapping[int, Change],
    current: Path,
    label: str,
    key: str | None,
    target: Path,
    places: Places = None,
) -> list[str]:
    """Write a copy of a patched file that was changed since, without the patch and with everything that was added.

    Dropped rows are appended. A relabelled row gets its former label if it is otherwise as the patch left it.

    Args:
        original: the file before the patch, with the suffix of ``current``.
        changes: what the patch changed, by position in ``original``.
        current: the file as it is.
        label: the name of the label column.
        key: the name of the id column; None if there is none.
        target: the file to write.
        places: class names that integer labels index.

    Returns:
        The rows that are left alone, because they were changed since: their ids, or their positions in ``original``.

    Raises:
        InputError: the columns have changed; ``target`` may be half written then.
    """
    if is_text(current):
        return unpatch_text(original, changes, current, label, key, target)
    return _unpatch_parquet(original, changes, current, label, key, target, places)


def labels_of(file: Path, label: str, places: Places = None) -> Labels:
    """The labels of a file."""
    return labels_in(read_table(file) if is_text(file) else pq.ParquetFile(file).read([label]), label, places)


def _rewrite_parquet(file: Path, changes: Sequence[Change], label: str, target: Path, places: Places) -> None:
    source = pq.ParquetFile(file)
    labels = labels_in(source.read([label]), label, places)
    with pq.ParquetWriter(target, source.schema_arrow, **_as_written(source)) as writer:
        start = 0
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            changed = _changed(rows, changes[start : start + len(rows)], label, labels)
            start += len(rows)
            if len(changed):
                writer.write_table(changed, row_group_size=len(changed))


def _as_written(source: pq.ParquetFile) -> dict[str, Any]:
    """The writer's options that keep each column's compression and dictionary encoding (of the first row group)."""
    if not source.num_row_groups:
        return {}
    group = source.metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    encoded = [column.path_in_schema for column in columns if column.has_dictionary_page]
    return {
        "compression": {column.path_in_schema: _codec(column.compression) for column in columns},
        "use_dictionary": encoded or False,
    }


def _codec(name: str) -> str:
    """The writer's name of a compression, from its name in the file's metadata."""
    return {"UNCOMPRESSED": "none", "LZ4_RAW": "lz4"}.get(name, name.lower())


def _changed(table: pa.Table, changes: Sequence[Change], label: str, labels: Labels) -> pa.Table:
    if any(change and change["action"] == "relabel" for change in changes):
        values = [
            labels.written(change["suggested_label"]) if change and change["action"] == "relabel" else value
            for change, value in zip(changes, table[label].to_pylist(), strict=True)
        ]
        field = table.schema.field(label)
        table = table.set_column(table.schema.get_field_index(label), field, pa.array(values, field.type))
    dropped = [change is not None and change["action"] == "drop" for change in changes]
    # By slices, because Arrow can filter not every type of column.
    runs = [list(rows) for gone, rows in groupby(range(len(table)), key=dropped.__getitem__) if not gone]
    return pa.concat_tables([table.slice(run[0], len(run)) for run in runs]) if runs else table.slice(0, 0)


def _unpatch_parquet(
    original: Path,
    changes: Mapping[int, Change],
    current: Path,
    label: str,
    key: str | None,
    target: Path,
    places: Places,
) -> list[str]:
    was, source = pq.ParquetFile(original).read(), pq.ParquetFile(current)
    now = source.read()
    if not was.schema.equals(now.schema):
        raise other_columns(current)
    names = list(map(str, was[key].to_pylist())) if key else None
    present = set(map(str, now[key].to_pylist())) if key else set[str]()
    labels, positions, left = labels_in(was, label, places), positions_of(_row_keys(now)), list[str]()
    former, dropped = now[label].to_pylist(), list[int]()
    patched = _row_keys(_changed(was, _only_relabelled(changes, len(was)), label, labels))
    for row, at in zip(range(len(was)), patched, strict=True):
        change = changes.get(row)
        if change is None:
            continue
        if change["action"] == "drop" and row_name(row, names) not in present:
            dropped.append(row)
        elif change["action"] == "relabel" and positions.get(at):
            former[positions[at].pop()] = labels.values[row]
        else:
            left.append(row_name(row, names))
    field = now.schema.field(label)
    now = now.set_column(now.schema.get_field_index(label), field, pa.array(former, field.type))
    with pq.ParquetWriter(target, source.schema_arrow, **_as_written(source)) as writer:
        start = 0
        for group in range(source.num_row_groups):
            count = source.metadata.row_group(group).num_rows
            writer.write_table(now.slice(start, count), row_group_size=max(count, 1))
            start += count
        if dropped:
            writer.write_table(pa.concat_tables([was.slice(row, 1) for row in dropped]))
    return left


def _only_relabelled(changes: Mapping[int, Change], count: int) -> list[Change]:
    at = (changes.get(row) for row in range(count))
    return [change if change and change["action"] == "relabel" else None for change in at]


def _row_keys(table: pa.Table) -> Iterator[str]:
    """A digest of each row."""
    for batch in table.to_batches(max_chunksize=_CHUNK):
        yield from (digest(repr(row).encode()) for row in batch.to_pylist())


_CHUNK = 256
"""Rows that are digested at once."""
