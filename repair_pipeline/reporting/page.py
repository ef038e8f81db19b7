"""Renders the templates as self-contained HTML pages."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from repair_pipeline.reporting.descriptions import description, short_name, signed
from repair_pipeline.reporting.picture import Numbers, Picture, svg


def render(template: str, **values: Any) -> str:
    """The page that a template makes of ``values``."""
    return _TEMPLATES.get_template(template).render(**values)


def image(picture: Picture, name: str) -> Markup:
    """An ``<img>`` with the picture as inline SVG.

    If the picture has no numbers of its own, the page holds them in a table with the id ``NAME-table``.
    """
    width, height = (round(96 * inches) for inches in picture.figure.get_size_inches())
    source = base64.b64encode(svg(name, picture)).decode()
    details = "" if picture.numbers else Markup(' aria-details="{}-table"').format(name)
    return Markup('<img src="data:image/svg+xml;base64,{}" width="{}" height="{}" alt="{}"{}>').format(
        source, width, height, picture.alt_text, details
    )


def numeric_columns(numbers: Numbers) -> set[int]:
    """Positions of the columns that hold numbers only, which are right-aligned."""
    columns = range(1, len(numbers.head))
    return {at for at in columns if numbers.rows and all(_is_number(row[at]) for row in numbers.rows)}


def _is_number(cell: str | int) -> bool:
    return isinstance(cell, int) or cell.replace("−", "-").lstrip("+-").replace(".", "", 1).isdigit()


def allowed(text: str) -> str:
    """What a page's content policy calls an inline script or style: only this very text is run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


SORT = Path(__file__).with_name("sort.js").read_text(encoding="utf-8")
"""The script of the report: a click on a heading sorts its table."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals |= {"sort": Markup(SORT), "sort_allowed": Markup(allowed(SORT))}
_TEMPLATES.filters |= {
    "signed": signed,
    "short_name": short_name,
    "description": description,
    "image": image,
    "numeric_columns": numeric_columns,
}
