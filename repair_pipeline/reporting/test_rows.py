"""What the report shows of the test rows that are weak evidence."""

from __future__ import annotations

import numpy as np
import torch

from repair_pipeline.datasets.labels import texts
from repair_pipeline.reporting.descriptions import shortened
from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.gallery import LONGEST, grid
from repair_pipeline.reporting.picture import Numbers, Picture
from repair_pipeline.types import Examples

_ROWS = 10
_PAIRS = 8


def of_reason(evidence: Evidence, reason: str) -> list[Row]:
    """The rows that are listed for a reason: the closest, or the surest, first."""
    rows = [row for row in evidence.doubtful if row["reason"] == reason]
    return sorted(rows, key=lambda row: (row["closeness"] or 0, -(row["probability"] or 0), row["example_id"]))


def listed_duplicates(evidence: Evidence) -> Numbers:
    """The first near duplicates as a table."""
    rows = of_reason(evidence, "near_duplicate")[:_ROWS]
    cells = [(row["example_id"], row["split"], row["training_row"], f"{row['closeness']:.3f}") for row in rows]
    return Numbers(("Test row", "Split", "Training row", "Closeness"), cells)


def listed_labels(evidence: Evidence) -> Numbers:
    """The first doubtful labels as a table."""
    rows = of_reason(evidence, "doubtful_label")[:_ROWS]
    cells = [
        (row["example_id"], row["split"], row["label"], row["likelier_label"], f"{row['probability']:.3f}")
        for row in rows
    ]
    return Numbers(("Test row", "Split", "Given label", "Likelier label", "P(wrong)"), cells)


def duplicates(evidence: Evidence) -> Picture | None:
    """The first near duplicates, each beside its training image; None if there are none to show.

    Rows of the holdout are never shown.
    """
    shown = [row for row in of_reason(evidence, "near_duplicate") if row["split"] != "holdout"][:_PAIRS]
    if not shown:
        return None
    data = evidence.data
    seen = Examples.concat([data.fit.examples, data.validation.examples])
    images, captions, alt_texts = [], list[str](), list[str]()
    for row in shown:
        for kind, rows, name in (("test", data.test, "example_id"), ("training", seen, "training_row")):
            at = torch.from_numpy(np.flatnonzero(rows.ids == row[name]))
            (label,) = texts(rows.labels[at], data.classes)
            images.append(rows[at].tensor)
            captions.append(f"{kind}\n{shortened(label, LONGEST)}")
            alt_texts.append(f"{kind} image labelled {label}")
    figure = grid(evidence, torch.cat(images), captions, np.zeros(len(images), dtype=bool))
    return Picture(figure, f"Near duplicates: {'; '.join(alt_texts)}.", listed_duplicates(evidence))
