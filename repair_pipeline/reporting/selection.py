"""Selects the repair of a case that is judged, and the controls it is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from repair_pipeline.evaluation.selection import selected
from repair_pipeline.reporting.descriptions import kind
from repair_pipeline.reporting.evidence import Row


def repairs(recovery: Sequence[Row], treated: str | None) -> list[Row]:
    """The repairs of one failure group, the judged one first.

    Args:
        treated: the influence method whose causes the case treats first.
    """
    rows = [row for row in recovery if kind(row) == "repair"]
    rows = [row for row in rows if row["treatment"] == "auto" or row["influence_method"] == treated]
    judged = selected(rows, lambda row: row["treatment"], lambda row: row["chosen"])
    return [row for row in [judged] if row] + [row for row in rows if row is not judged]


def controls(recovery: Sequence[Row], repair: Row) -> list[Row]:
    """The controls that the repair must beat.

    Random removal under another treatment is left out: it would not show what this treatment does by itself.
    """
    rows = [row for row in recovery if kind(row) == "control"]
    return [row for row in rows if row["influence_method"] is None or row["treatment"] == repair["treatment"]]
