"""``repair report``."""

from __future__ import annotations

from pathlib import Path

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.reporting.comparison import render_comparison
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout


def report_path(key: str | None, every: bool) -> Path:
    """The path of the report of case ``key``, or with ``every`` of the comparison of all cases, which is written.

    Raises:
        InputError: both or neither are given; the case is unknown or has not been run; no case is finished.
    """
    layout = Layout.current()
    if key and every:
        raise InputError(f"{key} and --all are both given: use repair report {key}, or repair report --all")
    if every:
        write_text(layout.comparison, render_comparison(layout))
        return layout.comparison
    if not key:
        raise InputError("no case is given: use repair report CASE, or repair report --all to compare all cases")
    stored_spec(layout, key)
    path = layout.report(key)
    if not path.is_file():
        raise InputError(f"case {key} has no report yet; to make it: repair run {key}")
    return path
