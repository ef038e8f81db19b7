"""Which repair of a case is judged, and by which controls."""

from __future__ import annotations

from collections.abc import Sequence

from repair_pipeline.reporting.descriptions import kind
from repair_pipeline.reporting.evidence import Row


def repairs(recovery: Sequence[Row], treated: str | None) -> list[Row]:
    """The repairs of one failure group, the one that is judged first. Nothing is picked by its result on the holdout.

    Judged is what the search kept, else the first treatment of the first method's causes in its chosen setting: the
    gate's own rule.

    Args:
        treated: the influence method whose causes the case treats first.
    """
    found = [row for row in recovery if kind(row) == "repair"]
    found = [row for row in found if row["treatment"] == "auto" or row["influence_method"] == treated]
    if not found:
        return []
    first = next((row for row in found if row["treatment"] == "auto"), found[0])
    settings = [row for row in found if row["treatment"] == first["treatment"] != "auto"]
    judged = next((row for row in settings if row["chosen"]), first)
    return [judged, *(row for row in found if row is not judged)]


def controls(recovery: Sequence[Row], repair: Row) -> list[Row]:
    """What the repair must beat. Random rows under another treatment answer another question."""
    found = [row for row in recovery if kind(row) == "control"]
    return [row for row in found if row["influence_method"] is None or row["treatment"] == repair["treatment"]]
