"""Equations become MathML as the site is built: no script, no font and no request when a page is read."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

_SET_MINUS = ("<mi>&#x029F5;</mi>", "<mo>∖</mo>")
"""U+29F5, which few fonts have, by U+2216, which is meant."""
_TAG = re.compile(r"\\tag\{([^}]+)\}")


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(convert(node.astext()).replace(*_SET_MINUS))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    """The equation, and at its end the number that the paper gives it."""
    tex = node.astext()
    number = _TAG.search(tex)
    shown = f'<span class="eqno">({number[1]})</span>' if number else ""
    equation = convert(_TAG.sub("", tex), display="block").replace(*_SET_MINUS)
    writer.body.append(f'<div class="math">{equation}{shown}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
