"""All that a report on a case can draw on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import load_scores
from repair_pipeline.types import CorruptedDataset, InfluenceScores, TestPartition

Row = Mapping[str, Any]
"""A row of a stored table, by column."""

YARDSTICKS = ("random", "oracle")
"""Influence methods that tell how good a ranking can or must be, and are none themselves."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A case's data and its stored tables, as they were written."""

    case: Row
    spec: Mapping[str, Any]
    data: CorruptedDataset
    partition: TestPartition
    detection: list[Row]
    curve: list[Row]
    recovery: list[Row]
    timings: list[Row]
    missing: list[str]
    """What the case names and no table holds."""
    method: str | None
    """The influence method that the pictures show; None where none but yardsticks finished."""
    scores: InfluenceScores | None

    @property
    def planted(self) -> int:
        """Planted fit rows."""
        return int(self.data.fit.corrupted.sum())

    @property
    def failures(self) -> int:
        """Test rows that the base model gets wrong."""
        return len(self.data.test) - len(self.partition.guard) - len(self.partition.remaining)

    @property
    def treated(self) -> str | None:
        """The influence method whose causes the case treats first."""
        return next((method for method in self.spec["treat"] if method not in YARDSTICKS), None)


def read_evidence(layout: Layout, case_id: str, data: CorruptedDataset, partition: TestPartition) -> Evidence:
    """The case's tables, read one by one."""

    def rows(table: str) -> list[Row]:
        found: list[Row] = read_parquet(layout.table(table, case_id))[0].to_pylist()
        return found

    case = {"case_id": case_id, **rows("cases")[0]}
    spec = json.loads(case["spec"])
    ranked = [
        name
        for name in ("ewc", *spec["treat"], *spec["influence"])
        if name not in YARDSTICKS and layout.influence(case_id, name).exists()
    ]
    method = ranked[0] if ranked else None
    return Evidence(
        case=case,
        spec=spec,
        data=data,
        partition=partition,
        detection=rows("detection"),
        curve=rows("detection_curve"),
        recovery=rows("recovery"),
        timings=rows("timings"),
        missing=list(read_parquet(layout.table("recovery", case_id))[1]["missing"]),
        method=method,
        scores=load_scores(layout.influence(case_id, method), data.fit.examples) if method else None,
    )
