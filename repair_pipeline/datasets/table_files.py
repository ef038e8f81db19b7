"""Reading tables: CSV, JSON lines and Parquet files, and folders of Parquet files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from repair_pipeline.datasets.column_values import values_of
from repair_pipeline.datasets.json_lines import parsed
from repair_pipeline.datasets.labels import class_name
from repair_pipeline.errors import InputError, one_line

UNREADABLE = (pa.ArrowException, OSError)
"""Exceptions that Arrow and the file system raise for an unusable file."""
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_COMPRESSED = (".gz", ".bz2", ".zst")
_CONTENTS = {
    b"PAR1": "a Parquet file: give it a name that ends in .parquet",
    b"\x1f\x8b": "compressed by gzip: give it a name that ends in .gz",
    b"PK\x03\x04": "a zip archive or an Excel file: unpack it, or save it as CSV",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
"""What a file is that is named as CSV, by its first bytes."""
TABLES = "a .parquet, .csv, .tsv or .jsonl file"
"""The tables that are read, in messages."""
_UNPACKABLE = (".zip", ".xz", ".7z", ".tar", ".rar")
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_UNNAMED = re.compile(r"__index_level_\d+__|Unnamed: \d+|")
"""pandas's names for an unnamed index: in Parquet, and in a CSV file that was read and written again."""


def require_local(key: str, name: str) -> None:
    """Refuse a URL in place of a path.

    Args:
        key: the case key that holds it, for error messages.
        name: the path.

    Raises:
        InputError: ``name`` is a URL.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", name):
        raise InputError(f"{key} is {name!r}, which is a URL: download it first and give the file's path")


def require_file(path: Path) -> None:
    """Refuse a path that is neither a file nor a folder: reading a pipe or a device would not end.

    Raises:
        InputError: it is neither, or cannot be looked at.
    """
    try:
        found = path.is_file() or path.is_dir()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not found:
        what = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}: give {TABLES}, or a folder")


def delimiter(path: Path) -> str | None:
    """The delimiter of a CSV or TSV file, by its suffix (``.CSV`` and ``.csv.gz`` too); None for other files."""
    return _DELIMITERS.get(_suffix(path))


def is_text(path: Path) -> bool:
    """Whether a file's suffix is that of a table of text lines, CSV or JSON: it has no schema and holds no bytes."""
    return delimiter(path) is not None or _suffix(path) in _JSON_LINES


def _suffix(path: Path) -> str:
    """The suffix in lower case, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_table(path: Path) -> bool:
    """Whether a file's suffix is that of a table."""
    return is_text(path) or path.suffix.lower() == ".parquet"


def parquet_files(path: Path) -> list[Path]:
    """The file itself, or the Parquet files of a folder that are not hidden, sorted by name."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix.lower() == ".parquet" and not is_hidden(file))


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is hidden: those that programs leave behind, such as ``._x.png`` and ``.DS_Store``."""
    return path.name.startswith(".")


def read_table(path: Path, without: str | None = None, *, empty: bool = False) -> pa.Table:
    """Read a CSV, JSON lines or Parquet file, or a folder of Parquet files.

    Args:
        path: the file or folder.
        without: a Parquet column to leave out, as its images are read in chunks later.
        empty: whether the table may have no rows.

    Raises:
        InputError: it cannot be read, has no rows, or has a column twice.
    """
    require_file(path)
    try:
        if delimiter(path):
            table = _read_csv(path)
        else:
            table = _read_json_lines(path) if is_text(path) else _read_parquet(path, without)
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not len(table) and not empty:
        raise InputError(f"{path} has no rows: give a table with rows")
    return table


def text_of(path: Path, table: pa.Table, column: str) -> list[str]:
    """A column as text: of a CSV file the text in the file (``00037``), otherwise the values converted to text.

    Args:
        path: the file.
        table: the result of ``read_table`` for ``path``.
        column: the column's name.

    Returns:
        The text of each row; empty for a missing value.

    Raises:
        InputError: a value cannot be read.
    """
    if delimiter(path):
        table = _read_csv(path, as_text=column)
    return ["" if value is None or value != value else str(value) for value in values_of(path, table, column)]


def as_listed(path: Path, table: pa.Table, column: str, known: Iterable[str]) -> list[str]:
    """A column's values as known names.

    A name is compared with the text in the file, ``00037``; then with the name of the value, ``1`` for 1.0 and ``True``
    for true; then with the number that a program may have read it as, 37.

    Args:
        path: the file.
        table: the result of ``read_table`` for ``path``.
        column: the column's name.
        known: the names.

    Returns:
        The known name of each row, or its text if there is none; empty for a missing value.
    """
    names = set(known)
    by_number = _by_number(names)
    listed = []
    for text, value in zip(text_of(path, table, column), values_of(path, table, column), strict=True):
        key = text if text in names else class_name(value)
        listed.append(key if key in names else by_number.get(key, text))
    return listed


def _by_number(names: Iterable[str]) -> dict[str, str]:
    """The all-digit names by their number, where it is unique: pandas reads 00037 as 37 and writes it so."""
    numbers = [(str(int(name)), name) for name in names if name.isascii() and name.isdigit()]
    counts = Counter(number for number, _ in numbers)
    return {number: name for number, name in numbers if counts[number] == 1}


def schema(path: Path) -> pa.Schema:
    """The schema of a Parquet file, or of the first file in a folder.

    Raises:
        InputError: the file cannot be read, or has a column twice.
    """
    try:
        columns = pq.read_schema(parquet_files(path)[0])
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    _require_distinct(path, columns.names)
    return columns


def index_columns(table: pa.Table) -> set[str]:
    """Columns that pandas wrote as an index: row positions, not features."""
    columns = in_metadata(table, "pandas", "index_columns")
    named = {name for name in columns if isinstance(name, str)} if isinstance(columns, list) else set()
    return named | {name for name in table.column_names if is_unnamed(name)}


def is_unnamed(column: str) -> bool:
    """Whether a column's name is one that pandas gives an unnamed index."""
    return _UNNAMED.fullmatch(column) is not None


def unreadable(path: Path, error: Exception) -> InputError:
    """The error for a file that cannot be read."""
    if path.suffix.lower() in _UNPACKABLE:
        return InputError(f"{path} is an archive: unpack it, and give the table in it")
    return InputError(f"{path} cannot be read ({one_line(error)}): give {TABLES}, or a folder")


def in_metadata(table: pa.Table, program: str, *keys: str) -> Any:
    """A value in what a program wrote into the file's metadata as JSON; None if it is not there.

    Args:
        table: the result of ``read_table``.
        program: ``pandas`` or ``huggingface``.
        keys: the path to the value.
    """
    value = json.loads((table.schema.metadata or {}).get(program.encode(), b"{}"))
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def file_bytes(path: Path) -> bytes:
    """A file's bytes, decompressed if its suffix names a compression."""
    with pa.input_stream(str(path), compression="detect") as stream:
        return bytes(stream.read())


def _read_parquet(path: Path, without: str | None) -> pa.Table:
    tables: list[pa.Table] = []
    first: list[str] = []
    if path.is_dir() and (deeper := [file for file in path.glob("*/*.parquet") if not is_hidden(file.parent)]):
        raise InputError(
            f"{path} has Parquet files in folders too ({deeper[0].relative_to(path)}): put all of them into one folder"
        )
    for file in parquet_files(path):
        opened = pq.ParquetFile(file)
        names = opened.schema_arrow.names
        _require_distinct(file, names)
        tables.append(opened.read([name for name in names if name != without]))
        _require_readable(file, tables[-1])
        first = first or names
        if set(names) != set(first):
            raise InputError(
                f"{file} has the columns {', '.join(names)}, the first file of the folder has "
                f"{', '.join(first)}: give all files the same columns"
            )
    return pa.concat_tables(tables, promote_options="permissive")


def _require_readable(file: Path, table: pa.Table) -> None:
    """Refuse text that is not UTF-8, which Arrow does not check, and metadata that are not JSON."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{file}: the column {name!r} is damaged ({one_line(error)}): write the file again, with text as UTF-8"
            ) from error
    for program in ("pandas", "huggingface"):
        try:
            in_metadata(table, program)
        except ValueError as error:
            raise InputError(f"{file} has metadata of {program} that are not JSON: write the file again") from error


def _read_json_lines(path: Path) -> pa.Table:
    content = file_bytes(path)
    if not content.strip():
        raise InputError(f"{path} has no rows: give a table with rows")
    try:
        return parsed(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} is not UTF-8 (line {line}): save it as UTF-8") from None
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path} cannot be read as JSON lines ({one_line(error)}): write one JSON object in each line, with values "
            "of one type in each column"
        ) from error


def _read_csv(path: Path, as_text: str | None = None) -> pa.Table:
    content, separator = file_bytes(path), delimiter(path) or ","
    for first_bytes, what in _CONTENTS.items():
        if content.startswith(first_bytes):
            raise InputError(f"{path} is {what}")
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace")
    if "\0" in header:
        raise InputError(f"{path} is not text in UTF-8, as its header has zero bytes: save it as UTF-8")
    _require_closed_quotes(path, content, separator)
    if "\ufffd" in header:
        _require_utf8(path, content, separator)
    if separator not in header:
        for other, name in _OTHER_DELIMITERS.items():
            if other in header:
                raise InputError(
                    f"{path} separates columns by {name}: save it with commas and decimal points, or as Parquet"
                )
    types = {} if as_text is None else {as_text: pa.string()}
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types=types),
        )
        _require_distinct(path, table.column_names)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        _require_utf8(path, content, separator)
        raise
    if any(pa.types.is_binary(field.type) for field in table.schema):  # Arrow reads text that is not UTF-8 as bytes
        _require_utf8(path, content, separator)
    return table


def _require_distinct(path: Path, names: list[str]) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InputError(f"{path} has the column {name!r} {count} times: rename or drop all but one")


def _require_closed_quotes(path: Path, content: bytes, separator: str) -> None:
    """Refuse a quote that is not closed, as Arrow reads all rows behind it as one field."""
    if content.count(b'"') % 2 == 0:
        return
    quoted_field = rb'(?:\A|[\r\n%b])"[^"]*(?:""[^"]*)*("?)' % separator.encode()
    for field in re.finditer(quoted_field, content):
        if not field[1]:
            line = content.count(b"\n", 0, field.start() + 1) + 1
            raise InputError(f"{path}: the quote that begins in line {line} is not closed: fix the line")


def _require_utf8(path: Path, content: bytes, separator: str) -> None:
    try:
        content.decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8{_first_invalid_field(content, separator)}: save it as UTF-8") from None


def _first_invalid_field(content: bytes, separator: str) -> str:
    """The location of the first field that is not UTF-8, in parentheses; empty if the CSV cannot be parsed."""
    try:
        for where, value in _fields(content, separator):
            try:
                value.encode("latin-1").decode()
            except UnicodeDecodeError:
                return f" ({where})"
    except csv.Error:
        pass
    return ""


def _fields(content: bytes, separator: str) -> Iterator[tuple[str, str]]:
    """The location and the content of every field, each byte decoded as one character (Latin-1)."""
    rows = csv.reader(io.StringIO(content.decode("latin-1").lstrip("\r\n"), newline=""), delimiter=separator)
    header = next(rows, [])
    yield from (("its header", name) for name in header)
    for row, values in enumerate(rows):
        yield from ((f"column {name}, row {row}", value) for name, value in zip(header, values, strict=False))
