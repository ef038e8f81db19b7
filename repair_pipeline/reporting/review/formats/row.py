"""A row on its way to an annotation tool, and an answer on its way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from repair_pipeline.storage.decision_log import Decision


@dataclass(frozen=True, eq=False)
class HandedOver:
    """A row that is handed over."""

    row: Mapping[str, Any]
    """What the review page shows of it."""
    image: bytes | None
    """As PNG; None if inputs are no images."""
    decision: Decision | None

    @property
    def name(self) -> str:
        """A file name for the image."""
        return f"{self.row['rank']:06d}.png"

    @property
    def said(self) -> dict[str, str | None]:
        """The decision as text, in columns that each layout with columns has."""
        if self.decision is None:
            return dict.fromkeys(("decision", "new_label", "who", "decided_at", "note"))
        return {
            "decision": self.decision.decision,
            "new_label": self.decision.label,
            "who": self.decision.who,
            "decided_at": self.decision.decided_at.isoformat(),
            "note": self.decision.note,
        }


@dataclass(frozen=True)
class Answer:
    """What an annotator said about a row."""

    example_id: str
    decision: str | None
    label: str | None
    """The new label, or where ``decision`` is None, the label that she left."""
    who: str | None = None
    decided_at: datetime | None = None
    note: str = ""


def columns(line: Mapping[str, Any], label: str | None = None) -> Answer:
    """The answer in the columns of ``HandedOver.said``.

    Args:
        line: the columns and ``example_id``.
        label: the label in the tool, where it can be edited.
    """
    decision = line.get("decision") or None
    return Answer(
        str(line["example_id"]),
        decision,
        (line.get("new_label") or None) if decision else label,
        line.get("who") or None,
        moment(line.get("decided_at")),
        line.get("note") or "",
    )


def moment(text: str | None) -> datetime | None:
    """A time in ISO 8601, as UTC; None for none."""
    if not text:
        return None
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
