"""Rewriting a CSV or JSON lines file with rows dropped and labels changed, and every other byte kept."""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from repair_pipeline.datasets.changes import Change, other_columns, positions_of, row_name
from repair_pipeline.datasets.json_lines import Span, values_in
from repair_pipeline.datasets.label_columns import labels_in
from repair_pipeline.datasets.labels import class_name
from repair_pipeline.datasets.table_files import delimiter, file_bytes, read_table
from repair_pipeline.errors import InputError

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_LINE = re.compile(rb"[^\r\n]+(?:\r\n|\n|\r)?")


def rewrite_text(file: Path, changes: Sequence[Change], label: str, target: Path) -> None:
    """As ``rewriting.rewrite``, for a CSV or JSON lines file."""
    text = _opened(file, label)
    if len(text.rows) != len(changes):
        raise _unmatched(file)
    edits = [
        ((row.start, row.end), b"")
        if change["action"] == "drop"
        else (row.fields[label], text.written(change["suggested_label"]))
        for row, change in zip(text.rows, changes, strict=True)
        if change is not None
    ]
    _write(target, _compression(file), _edited(text.content, edits))


def unpatch_text(
    original: Path, changes: Mapping[int, Change], current: Path, label: str, key: str | None, target: Path
) -> list[str]:
    """As ``rewriting.unpatch``, for a CSV or JSON lines file."""
    was, now = _opened(original, label), _opened(current, label)
    if was.header != now.header:
        raise other_columns(current)
    names = was.texts(key) if key else None
    present = set(now.texts(key)) if key else set[str]()
    positions, left = positions_of(frozenset(now.fields(row).items()) for row in now.rows), list[str]()
    edits, appended = list[tuple[Span, bytes]](), list[bytes]()
    for row, change in sorted(changes.items()):
        if change is None:
            continue
        line, fields = was.rows[row], was.fields(was.rows[row])
        former, name = fields[label], row_name(row, names)
        if change["action"] == "drop" and name not in present:
            appended.append(was.content[line.start : line.end].rstrip(b"\r\n") + now.line_ending)
            continue
        fields[label] = was.written(change["suggested_label"]) if change["action"] == "relabel" else former
        if change["action"] == "relabel" and (at := positions.get(frozenset(fields.items()))):
            edits.append((now.rows[at.pop()].fields[label], former))
        else:
            left.append(name)
    content = _edited(now.content, sorted(edits))
    if appended and content and not content.endswith((b"\r", b"\n")):
        content += now.line_ending
    _write(target, _compression(current), content + b"".join(appended))
    return left


def _edited(content: bytes, edits: Iterable[tuple[Span, bytes]]) -> bytes:
    """The content with the bytes between two positions replaced, for each edit in order."""
    pieces, done = list[bytes](), 0
    for (start, end), new in edits:
        pieces += [content[done:start], new]
        done = end
    return b"".join([*pieces, content[done:]])


def _write(target: Path, compression: str | None, content: bytes) -> None:
    with pa.output_stream(str(target), compression=compression) as stream:
        stream.write(content)


def _unmatched(file: Path) -> InputError:
    return InputError(f"{file}: its rows cannot be matched to its lines: save it as Parquet to patch it")


@dataclass(frozen=True)
class _Line:
    """The byte positions of a line and of its fields, by column."""

    start: int
    end: int
    fields: Mapping[str, Span]


class _Text(ABC):
    """The lines of a file, matched to its rows."""

    header: Sequence[str] = ()
    """The columns, if a line does not name its own."""
    rows: Sequence[_Line]

    def __init__(self, file: Path, label: str) -> None:
        self.content = file_bytes(file)
        self.parse(file)
        self.labels = labels_in(read_table(file), label)
        if not self.agrees(label):
            raise _unmatched(file)
        fields = (self.content[slice(*row.fields[label])] for row in self.rows)
        self._field_of = dict(zip(self.labels.names, fields, strict=True))
        ending = _END_OF_LINE.search(self.content, self.rows[0].start if self.rows else 0)
        self.line_ending = ending[0] if ending else b"\n"

    @abstractmethod
    def parse(self, file: Path) -> None:
        """Find the lines that are rows."""

    @abstractmethod
    def agrees(self, label: str) -> bool:
        """Whether the lines have the labels that were read."""

    @abstractmethod
    def text(self, field: Span) -> str:
        """The text of a field."""

    @abstractmethod
    def field(self, value: Any) -> bytes:
        """A value as a field."""

    def texts(self, column: str) -> list[str]:
        """A column as text; empty where a line does not have it."""
        return [self.text(row.fields[column]) if column in row.fields else "" for row in self.rows]

    def fields(self, row: _Line) -> dict[str, bytes]:
        """The fields of a line, as they are written."""
        return {name: self.content[slice(*field)] for name, field in row.fields.items()}

    def written(self, name: str) -> bytes:
        """The field that the file writes for a class."""
        return self._field_of.get(name) or self.field(self.labels.written(name))


class _Csv(_Text):
    def parse(self, file: Path) -> None:
        self.separator = delimiter(file) or ","
        lines = (line for line in _lines(self.content, self.separator) if line[2])
        self.header = [self.text(field) for field in next(lines)[2]]
        self.rows = [_Line(start, end, dict(zip(self.header, fields, strict=False))) for start, end, fields in lines]

    def agrees(self, label: str) -> bool:
        try:
            read = pa.array(self.texts(label), pa.string()).cast(self.labels.kind).to_pylist()
        except pa.ArrowException:
            return False
        return list(map(class_name, read)) == list(map(class_name, self.labels.values))

    def text(self, field: Span) -> str:
        text = self.content[slice(*field)].decode()
        if quoted := re.match(r'"((?:[^"]|"")*)"', text):
            return quoted[1].replace('""', '"') + text[quoted.end() :]
        return text

    def field(self, value: Any) -> bytes:
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=self.separator, lineterminator="").writerow([str(value)])
        return line.getvalue().encode()


class _JsonLines(_Text):
    def parse(self, file: Path) -> None:
        lines = (line for line in _LINE.finditer(self.content) if line[0].strip())
        try:
            self.rows = [_Line(*line.span(), _json_fields(line)) for line in lines]
        except ValueError as error:  # an object of several lines, or several in one
            raise _unmatched(file) from error

    def agrees(self, label: str) -> bool:
        read = [json.loads(self.content[slice(*row.fields[label])]) for row in self.rows if label in row.fields]
        return list(map(class_name, read)) == list(map(class_name, self.labels.values))

    def text(self, field: Span) -> str:
        return str(json.loads(self.content[slice(*field)]))

    def field(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=self.content.isascii()).encode()


def _opened(file: Path, label: str) -> _Text:
    return (_Csv if delimiter(file) else _JsonLines)(file, label)


def _json_fields(line: re.Match[bytes]) -> dict[str, Span]:
    """The byte positions of the values in a line."""
    text = line[0].decode()

    def position(characters: int) -> int:
        return line.start() + len(text[:characters].encode())

    return {name: (position(start), position(end)) for name, (start, end) in values_in(text).items()}


def _compression(file: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(file.suffix.lower())


def _lines(content: bytes, separator: str) -> Iterator[tuple[int, int, list[Span]]]:
    """Where the lines of a CSV file and their fields begin and end; a blank line has no fields."""
    mark = re.escape(separator.encode())
    # A field may start with a quote; quotes inside are doubled; text after the closing quote belongs to the field.
    field = re.compile(rb'(?:"(?:[^"]|"")*")?[^%b\r\n]*' % mark)
    at = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    while at < len(content):
        start, fields = at, list[Span]()
        while True:
            match = field.match(content, at)
            assert match is not None, "the pattern also matches the empty string"
            fields.append(match.span())
            at = match.end()
            if content[at : at + 1] != separator.encode():
                break
            at += 1
        ending = _END_OF_LINE.match(content, at)
        at = ending.end() if ending else at
        blank = len(fields) == 1 and fields[0][0] == fields[0][1]
        yield start, at, [] if blank else fields
