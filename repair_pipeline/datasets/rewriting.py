"""Rewriting a table file with rows dropped and labels changed, and nothing else."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.datasets.ids import digest
from repair_pipeline.datasets.label_columns import Labels
from repair_pipeline.datasets.labels import class_name
from repair_pipeline.datasets.table_files import delimiter, file_bytes, read_table
from repair_pipeline.errors import InputError

Change = Mapping[str, Any] | None
"""A row of a patch (``action``, ``suggested_label``), or None for an unchanged row."""

Places = tuple[str, ...] | None
"""Class names that integer labels index; None if the values are the classes."""


def rewrite(file: Path, changes: Sequence[Change], label: str, target: Path, places: Places = None) -> None:
    """Write a copy of a CSV or Parquet file with changed rows.

    A CSV file keeps every byte of the unchanged lines and fields. A Parquet file keeps its schema, metadata, column
    order, row groups and compression.

    Args:
        file: the original.
        changes: one for every row of ``file``.
        label: the name of the label column.
        target: the file to write.
        places: class names that integer labels index.

    Raises:
        InputError: the changes cannot be made; ``target`` may be half written then.
    """
    if delimiter(file):
        _rewrite_csv(file, changes, label, target)
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
    if delimiter(current):
        return _unpatch_csv(original, changes, current, label, key, target)
    return _unpatch_parquet(original, changes, current, label, key, target, places)


def labels_of(file: Path, label: str, places: Places = None) -> Labels:
    """The labels of a file."""
    return _labels(read_table(file) if delimiter(file) else pq.ParquetFile(file).read([label]), label, places)


def _places_of(keys: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """The positions of each key, the last one first."""
    positions = dict[Hashable, list[int]]()
    for at, each in enumerate(keys):
        positions.setdefault(each, []).insert(0, at)
    return positions


def _name(row: int, names: Sequence[str] | None) -> str:
    return names[row] if names else f"row {row}"


# Parquet.


def _rewrite_parquet(file: Path, changes: Sequence[Change], label: str, target: Path, places: Places) -> None:
    source = pq.ParquetFile(file)
    labels = _labels(source.read([label]), label, places)
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


def _labels(table: pa.Table, label: str, places: Places = None) -> Labels:
    return Labels(table[label].to_pylist(), table.schema.field(label).type, places)


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
        raise _other_columns(current)
    names = list(map(str, was[key].to_pylist())) if key else None
    present = set(map(str, now[key].to_pylist())) if key else set[str]()
    labels, positions, left = _labels(was, label, places), _places_of(_row_keys(now)), list[str]()
    former, dropped = now[label].to_pylist(), list[int]()
    patched = _row_keys(_changed(was, _only_relabelled(changes, len(was)), label, labels))
    for row, at in zip(range(len(was)), patched, strict=True):
        change = changes.get(row)
        if change is None:
            continue
        if change["action"] == "drop" and _name(row, names) not in present:
            dropped.append(row)
        elif change["action"] == "relabel" and positions.get(at):
            former[positions[at].pop()] = labels.values[row]
        else:
            left.append(_name(row, names))
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


def _other_columns(current: Path) -> InputError:
    return InputError(
        f"{current} has other columns than when the patch was applied, so its dropped rows cannot be put back: give it "
        "its former columns, then revert again"
    )


# CSV.


def _rewrite_csv(file: Path, changes: Sequence[Change], label: str, target: Path) -> None:
    text = _Text(file, label)
    if len(text.rows) != len(changes):
        raise _unmatched(file)
    edits = [
        ((row.start, row.end), b"")
        if change["action"] == "drop"
        else (row.fields[text.column], text.written(change["suggested_label"]))
        for row, change in zip(text.rows, changes, strict=True)
        if change is not None
    ]
    _write_csv(target, _compression(file), _edited(text.content, edits))


def _unpatch_csv(
    original: Path, changes: Mapping[int, Change], current: Path, label: str, key: str | None, target: Path
) -> list[str]:
    was, now = _Text(original, label), _Text(current, label)
    if was.header != now.header:
        raise _other_columns(current)
    names = was.texts(was.header.index(key)) if key else None
    present = set(now.texts(now.header.index(key))) if key else set[str]()
    positions, left = _places_of(map(now.fields, now.rows)), list[str]()
    edits, appended = list[tuple[tuple[int, int], bytes]](), list[bytes]()
    ending = now.content[now.header_line.end - 1 : now.header_line.end] or b"\n"
    ending = b"\r\n" if now.content[: now.header_line.end].endswith(b"\r\n") else ending
    for row, change in sorted(changes.items()):
        if change is None:
            continue
        line, fields = was.rows[row], list(was.fields(was.rows[row]))
        former, name = fields[was.column], _name(row, names)
        if change["action"] == "drop" and name not in present:
            appended.append(was.content[line.start : line.end].rstrip(b"\r\n") + ending)
            continue
        fields[was.column] = was.written(change["suggested_label"]) if change["action"] == "relabel" else former
        if change["action"] == "relabel" and (at := positions.get(tuple(fields))):
            edits.append((now.rows[at.pop()].fields[now.column], former))
        else:
            left.append(name)
    content = _edited(now.content, sorted(edits))
    if appended and not content.endswith((b"\r", b"\n")):
        content += ending
    _write_csv(target, _compression(current), content + b"".join(appended))
    return left


def _edited(content: bytes, edits: Iterable[tuple[tuple[int, int], bytes]]) -> bytes:
    """The content with the bytes between two positions replaced, for each edit in order."""
    pieces, done = list[bytes](), 0
    for (start, end), new in edits:
        pieces += [content[done:start], new]
        done = end
    return b"".join([*pieces, content[done:]])


def _write_csv(target: Path, compression: str | None, content: bytes) -> None:
    with pa.output_stream(str(target), compression=compression) as stream:
        stream.write(content)


def _unmatched(file: Path) -> InputError:
    return InputError(f"{file}: its rows cannot be matched to its lines: save it as Parquet to patch it")


class _Text:
    """The lines of a CSV file, matched to its rows."""

    def __init__(self, file: Path, label: str) -> None:
        self.content, self.separator = file_bytes(file), delimiter(file) or ","
        self.header_line, *self.rows = (line for line in _lines(self.content, self.separator) if line.fields)
        self.header = [_text(self.content, field) for field in self.header_line.fields]
        self.column = self.header.index(label)
        self._labels = _labels(read_table(file), label)
        if not _agree(self.texts(self.column), self._labels):
            raise _unmatched(file)
        fields = (self.content[slice(*row.fields[self.column])] for row in self.rows)
        self._field_of = dict(zip(self._labels.names, fields, strict=True))

    def texts(self, column: int) -> list[str]:
        """A column as text, unquoted."""
        return [_text(self.content, row.fields[column]) for row in self.rows]

    def fields(self, row: _Line) -> tuple[bytes, ...]:
        """The fields of a line, as they are written."""
        return tuple(self.content[slice(*field)] for field in row.fields)

    def written(self, name: str) -> bytes:
        """The field that the file writes for a class."""
        return self._field_of.get(name) or _field(str(self._labels.written(name)), self.separator)


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
