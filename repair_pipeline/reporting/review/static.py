"""The review page as one file: rows inside it, decisions in the browser and in a file to download."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from repair_pipeline.reporting.page import allowed, render
from repair_pipeline.reporting.review.app import HERE, about
from repair_pipeline.reporting.review.desk import Desk
from repair_pipeline.reporting.review.pictures import picture

MOST = 2000
"""Rows in a page: with their images they are some megabytes."""


@dataclass(frozen=True)
class StaticPage:
    """A page and the number of its rows."""

    html: str
    rows: int


def static_page(desk: Desk, who: str) -> StaticPage:
    """The page with the rows of the patch, or of a case without a patch the most harmful ones; at most ``MOST``.

    Args:
        desk: the review; what was decided in it is in the page.
        who: the name that the page suggests for the reviewer.
    """
    sheet = desk.sheet
    wanted = np.flatnonzero(sheet.in_patch) if sheet.in_patch.any() else np.arange(len(sheet))
    said = {row["at"]: row for row in desk.changes(0)["rows"]}
    rows = [_whole(desk, row) for row in sheet.shown(wanted[:MOST].tolist())]
    css, script = (HERE / "review.css").read_text(), "\n".join((HERE / name).read_text() for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src {allowed(script)}; style-src {allowed(css)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    inside: dict[str, Any] = {
        "policy": policy,
        "css": css,
        "script": script,
        "rows": {"rows": rows, "said": [said[row["at"]] for row in rows if row["at"] in said]},
        "all": False,
    }
    patch = {"patch": len(rows) if sheet.in_patch.any() else 0, "rows": len(sheet)}
    return StaticPage(render("review/review.html.jinja", about={**about(desk, who), **patch}, static=inside), len(rows))


_SCRIPTS = ("review.js", "static.js")


def _whole(desk: Desk, row: dict[str, Any]) -> dict[str, Any]:
    """A row with the images that the page shows of it."""
    if not desk.sheet.has_images:
        return row

    def data(kind: str, at: int) -> str:
        return f"data:image/png;base64,{base64.b64encode(picture(desk.sheet, kind, at)).decode()}"

    failures = [{**failure, "image": data("failure", failure["at"])} for failure in row["failures"]]
    return {**row, "image": data("row", row["at"]), "failures": failures}
