"""JSON lines: a table with one JSON object in each line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.json

Span = tuple[int, int]
"""Where a value begins and ends in a text."""

_DECODER = json.JSONDecoder()
_BETWEEN = " \t\r\n,:"
_BYTE_ORDER_MARK = "\ufeff"


def parsed(content: bytes) -> pa.Table:
    """The table in the content of a file; JSON has no times, so text that looks like one stays text.

    Raises:
        ArrowInvalid: it is not JSON, or a column has values of several types.
        UnicodeDecodeError: text is not UTF-8.
    """
    content.decode()  # Arrow checks it only where it reads the text
    options = pa.json.ReadOptions(block_size=len(content) + 1)
    table = pa.json.read_json(pa.BufferReader(content), read_options=options)
    kept = pa.schema([field.with_type(_without_times(field.type)) for field in table.schema])
    if kept == table.schema:
        return table
    as_text = pa.json.ParseOptions(explicit_schema=kept)
    return pa.json.read_json(pa.BufferReader(content), read_options=options, parse_options=as_text)


def values_in(line: str) -> dict[str, Span]:
    """Where each value of the object in a line is.

    Raises:
        ValueError: the line is not one JSON object.
    """
    if not isinstance(json.loads(line.removeprefix(_BYTE_ORDER_MARK)), dict):
        raise ValueError(f"no JSON object: {line[:80]}")
    values, at = dict[str, Span](), _next(line, line.index("{") + 1)
    while line[at] != "}":
        key, at = _DECODER.raw_decode(line, at)
        start = _next(line, at)
        _, at = _DECODER.raw_decode(line, start)
        values[key] = start, at
        at = _next(line, at)
    return values


def _next(line: str, at: int) -> int:
    """Where the next key, value or bracket begins."""
    while line[at] in _BETWEEN:
        at += 1
    return at


def _without_times(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_times(field.type)) for field in kind])
    return kind
