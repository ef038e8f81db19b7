"""Rewriting a table file with rows dropped and labels changed, and nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.datasets.labels import Labels, class_name
from repair_pipeline.datasets.table_files import delimiter, file_bytes, read_table
from repair_pipeline.datasets.user_tables import class_places
from repair_pipeline.errors import InputError

Change = Mapping[str, Any] | None
"""A row of a patch (``action``, ``suggested_label``), or None for an unchanged row."""


def rewrite(file: Path, changes: Sequence[Change], label: str, target: Path) -> None:
    """Write a copy of a CSV or Parquet file with changed rows.

    A CSV file keeps every byte of the unchanged lines and fields. A Parquet file keeps its schema, metadata, column
    order, row groups and compression.

    Args:
        file: the original.
        changes: one for every row of ``file``.
        label: the name of the label column.
        target: the file to write.

    Raises:
        InputError: the changes cannot be made; ``target`` may be half written then.
    """
    if delimiter(file):
        _rewrite_csv(file, changes, label, target)
    else:
        _rewrite_parquet(file, changes, label, target)


# Parquet.


def _rewrite_parquet(file: Path, changes: Sequence[Change], label: str, target: Path) -> None:
    source = pq.ParquetFile(file)
    labels = _labels(source.read([label]), label)
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


def _labels(table: pa.Table, label: str) -> Labels:
    return Labels(table[label].to_pylist(), table.schema.field(label).type, class_places(table, label))


def _changed(table: pa.Table, changes: Sequence[Change], label: str, labels: Labels) -> pa.Table:
    if any(change and change["action"] == "relabel" for change in changes):
        values = [
            labels.written(change["suggested_label"]) if change and change["action"] == "relabel" else value
            for change, value in zip(changes, table[label].to_pylist(), strict=True)
        ]
        field = table.schema.field(label)
        table = table.set_column(table.schema.get_field_index(label), field, pa.array(values, field.type))
    return table.filter(pa.array([change is None or change["action"] != "drop" for change in changes]))


# CSV.


def _rewrite_csv(file: Path, changes: Sequence[Change], label: str, target: Path) -> None:
    content, separator = file_bytes(file), delimiter(file) or ","
    lines = [line for line in _lines(content, separator) if line.fields]
    header, rows = lines[0], lines[1:]
    column = [_text(content, field) for field in header.fields].index(label)
    labels = _labels(read_table(file), label)
    values = [_text(content, row.fields[column]) for row in rows]
    if not _agree(values, labels) or len(rows) != len(changes):
        raise InputError(f"{file}: its rows cannot be matched to its lines: save it as Parquet to patch it")
    field_of = {name: content[slice(*row.fields[column])] for name, row in zip(labels.names, rows, strict=True)}
    pieces, done = [], 0
    for row, change in zip(rows, changes, strict=True):
        if change is None:
            continue
        start, end = (row.start, row.end) if change["action"] == "drop" else row.fields[column]
        pieces.append(content[done:start])
        if change["action"] == "relabel":
            name = change["suggested_label"]
            pieces.append(field_of.get(name) or _field(str(labels.written(name)), separator))
        done = end
    with pa.output_stream(str(target), compression=_compression(file)) as stream:
        stream.write(b"".join([*pieces, content[done:]]))


def _compression(file: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(file.suffix.lower())


class _Line:
    """The byte positions of a line of a CSV file and of its fields."""

    def __init__(self, start: int, end: int, fields: list[tuple[int, int]]) -> None:
        self.start, self.end, self.fields = start, end, fields


def _lines(content: bytes, separator: str) -> Iterator[_Line]:
    """The lines of a CSV file; a blank line has no fields."""
    mark = re.escape(separator.encode())
    # A field may start with a quote; quotes inside are doubled; text after the closing quote belongs to the field.
    field = re.compile(rb'(?:"(?:[^"]|"")*")?[^%b\r\n]*' % mark)
    end_of_line = re.compile(rb"\r\n|\n|\r")
    at = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    while at < len(content):
        start, fields = at, list[tuple[int, int]]()
        while True:
            match = field.match(content, at)
            assert match is not None, "the pattern also matches the empty string"
            fields.append(match.span())
            at = match.end()
            if content[at : at + 1] != separator.encode():
                break
            at += 1
        ending = end_of_line.match(content, at)
        at = ending.end() if ending else at
        blank = len(fields) == 1 and fields[0][0] == fields[0][1]
        yield _Line(start, at, [] if blank else fields)


def _text(content: bytes, field: tuple[int, int]) -> str:
    """The text of a field, unquoted."""
    text = content[slice(*field)].decode()
    if quoted := re.match(r'"((?:[^"]|"")*)"', text):
        return quoted[1].replace('""', '"') + text[quoted.end() :]
    return text


def _agree(texts: Sequence[str], labels: Labels) -> bool:
    """Whether parsing the texts gives the labels."""
    try:
        read = pa.array(texts, pa.string()).cast(labels.kind).to_pylist()
    except pa.ArrowException:
        return False
    return list(map(class_name, read)) == list(map(class_name, labels.values))


def _field(text: str, separator: str) -> bytes:
    """A text as a CSV field, quoted if necessary."""
    line = io.StringIO(newline="")
    csv.writer(line, delimiter=separator, lineterminator="").writerow([text])
    return line.getvalue().encode()
