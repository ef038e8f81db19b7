"""What turns templates into pages that need nothing but themselves."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from repair_pipeline.reporting.descriptions import in_words, plain, short_name, signed
from repair_pipeline.reporting.picture import Numbers, Picture, svg


def render(template: str, **values: Any) -> str:
    """A page."""
    return _TEMPLATES.get_template(template).render(**values)


def image(picture: Picture, name: str) -> Markup:
    """An inline SVG of its own; where its numbers stand in another table, that table has the id ``NAME-table``."""
    width, height = (round(96 * inches) for inches in picture.figure.get_size_inches())
    source = base64.b64encode(svg(name, picture)).decode()
    details = "" if picture.numbers else Markup(' aria-details="{}-table"').format(name)
    return Markup('<img src="data:image/svg+xml;base64,{}" width="{}" height="{}" alt="{}"{}>').format(
        source, width, height, picture.says, details
    )


def counted(numbers: Numbers) -> set[int]:
    """Columns of numbers, which are set flush right."""
    columns = range(1, len(numbers.head))
    return {at for at in columns if numbers.rows and all(_is_number(row[at]) for row in numbers.rows)}


def _is_number(cell: str | int) -> bool:
    return isinstance(cell, int) or cell.replace("−", "-").lstrip("+-").replace(".", "", 1).isdigit()


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "signed": signed,
    "short_name": short_name,
    "in_words": in_words,
    "plain": plain,
    "image": image,
    "counted": counted,
}
