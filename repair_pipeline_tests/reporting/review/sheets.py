"""Sheets of rows with known contents, for tests of the review page."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from repair_pipeline.reporting.review.desk import Desk
from repair_pipeline.reporting.review.sheet import COLUMNS, Sheet
from repair_pipeline.storage.decision_log import DecisionLog
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import OWN
from repair_pipeline.types import CorruptedDataset, Examples, TrainingRows

CLASSES = ("cat", "dog", "owl")
PATCHED = 10
EVIL = "<img src=x onerror=alert(1)> & \"quotes\" and 'others', a sentence"


def sheet(count: int = 30, kind: Literal["images", "text", "features"] = "images") -> Sheet:
    """``count`` rows by rank, the first ``PATCHED`` in the patch; given label at % 3, suggested the next one."""
    shape = {"images": (1, 4, 4), "text": (3,), "features": (2,)}[kind]
    inputs = torch.linspace(0, 1, count).view(count, *[1] * len(shape)).expand(count, *shape).clone()
    ids = np.array([f"r{at:05d}" for at in range(count)])
    fit = Examples(ids, inputs, torch.arange(count) % 3)
    tests = Examples(np.array([f"t{at}" for at in range(4)]), inputs[:4].clone(), torch.arange(4) % 3)
    own = {"shift": ["night" if at % 4 == 0 else "day" for at in range(count)]}
    if kind == "text":
        own["words"] = [f"{EVIL} number {at}" for at in range(count)]
    metadata = pa.table(
        {
            "example_id": [*ids.tolist(), *tests.ids.tolist()],
            **{name: [*values, *values[:4]] for name, values in own.items()},
        }
    )
    rows = [
        {
            "example_id": str(ids[at]),
            "row": at,
            "failure_group": "all",
            "action": ("relabel" if at % 2 else "drop") if at < PATCHED else None,
            "rank": at + 1,
            "influence": float(count - at),
            "probability": 0.9 if at < count // 2 else 0.05,
            "label": CLASSES[at % 3],
            "suggested_label": CLASSES[(at + 1) % 3],
            "suggestion_probability": 0.8,
            "reason": "because" if at < PATCHED else "",
            "opposes": 1 if at == 0 else 0,
        }
        for at in range(count)
    ]
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    for name, values in own.items():
        table = table.append_column(OWN + name, pa.array(values))
    clean = TrainingRows(fit, fit.labels, torch.zeros(count, dtype=torch.bool))
    features = ("width", "height") if kind == "features" else ()
    data = CorruptedDataset(clean, clean, tests, CLASSES, torch.zeros(shape[0]), metadata, features=features)
    return Sheet("made-up", table, data, tests, {"r00000": [(1, 2.5)]}, {"r00001": [("t3", "owl")]})


def desk(home: Path, count: int = 30, kind: Literal["images", "text", "features"] = "images") -> Desk:
    """A review of the sheet."""
    return Desk(sheet(count, kind), DecisionLog(Layout(home), "made-up"))
