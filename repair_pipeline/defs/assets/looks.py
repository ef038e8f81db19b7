"""How values look on Dagster's pages."""

from __future__ import annotations

import base64
import io

import dagster as dg
import pyarrow as pa
from matplotlib.figure import Figure
from PIL import Image

_DPI, _COLOURS = 100, 128


def table_schema(schema: pa.Schema) -> dg.TableSchema:
    """Columns with types, units and sign."""
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


def question(statement: str) -> dg.MarkdownMetadataValue:
    """The SQL that asks for more."""
    return dg.MetadataValue.md(f'```\nrepair query "{statement}"\n```')


def shown_table(table: pa.Table) -> dg.TableMetadataValue:
    """A table with its numbers rounded to four places."""
    rows = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in table.to_pylist()
    ]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], table_schema(table.schema))


def picture(name: str, figure: Figure) -> dg.MarkdownMetadataValue:
    """A figure that needs no file: every event of Dagster's database holds its own, so it is kept to some kB."""
    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(png, "PNG", optimize=True)
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png.getvalue()).decode()})")
