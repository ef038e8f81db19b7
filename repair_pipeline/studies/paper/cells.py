"""Measurements of the study that are not cases: a treatment without some rows, and its accuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.evaluation.recovery import recovery
from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.storage.files import write_text
from repair_pipeline.studies.study import Piece
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.types import Causes, silent

Row = dict[str, Any]


def piece(case: GroupView, path: Path, seconds: float, rows: Callable[[GroupView], Iterable[Row]]) -> Piece:
    """A piece that writes one file of rows, adding the case's seed and corruption to each."""
    return Piece(f"{path.parent.name} {path.stem}", {path: seconds}, partial(_make, case, path, rows))


def _make(case: GroupView, path: Path, rows: Callable[[GroupView], Iterable[Row]]) -> list[str]:
    with threads(case.spec.compute.threads):
        known = {"seed": case.spec.seed, "corruption": case.spec.corruption.kind if case.spec.corruption else None}
        table = pd.DataFrame([{**known, **row} for row in rows(case)])
    write_text(path, table.to_json(orient="records"))
    return []


def treated(view: GroupView, name: str, treatment: Treatment, causes: Causes) -> tuple[nn.Module, Row]:
    """The model that a treatment makes without ``causes``, and its accuracies as a row."""
    model = treatment.repaired(view.task(f"treatment/{name}", silent), causes)
    return model, {"treatment": name, "removed": len(causes), **asdict(recovery(model, view.partition))}
