"""Metadata values for Dagster's pages: tables, SQL and pictures."""

from __future__ import annotations

import base64
import io

import dagster as dg
import pyarrow as pa
from matplotlib.figure import Figure
from PIL import Image

_DPI, _COLOURS = 100, 128


def table_schema(schema: pa.Schema) -> dg.TableSchema:
    """The columns of a table, with types and descriptions."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                str(column.type),
                description=(column.metadata or {}).get(b"description", b"").decode() or None,
            )
            for column in schema
        ]
    )


def command(line: str) -> dg.MarkdownMetadataValue:
    """A command, to copy."""
    return dg.MetadataValue.md(f"```\n{line}\n```")


def sql_command(statement: str) -> dg.MarkdownMetadataValue:
    """The ``repair query`` command for an SQL statement."""
    return command(f'repair query "{statement}"')


def table_value(table: pa.Table) -> dg.TableMetadataValue:
    """A table with its numbers rounded to four decimals."""
    rows = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in table.to_pylist()
    ]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], table_schema(table.schema))


def figure_value(name: str, figure: Figure) -> dg.MarkdownMetadataValue:
    """A figure as an inline PNG; reduced to a few kB, because every event in Dagster's database holds its own."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(reduced, "PNG", optimize=True)
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(reduced.getvalue()).decode()})")
