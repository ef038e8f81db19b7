"""All that a report on a case can draw on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repair_pipeline.evaluation.partition import ALL_FAILURES
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
    gate: list[Row]
    """The gate's verdict on every failure group; none where the case has no gate."""
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
    """The case's tables, read one by one: of its first failure group, but for the gate's verdicts.

    Args:
        partition: the first failure group's.
    """

    case = {"case_id": case_id, **read_parquet(layout.table("cases", case_id))[0].to_pylist()[0]}
    spec = json.loads(case["spec"])
    groups = (spec["failures"] or {}).get("groups")
    group = next(iter(groups)) if groups else ALL_FAILURES
    in_names = "" if group == ALL_FAILURES else group

    def rows(table: str) -> list[Row]:
        found: list[Row] = read_parquet(layout.table(table, case_id))[0].to_pylist()
        return [row for row in found if row.get("failure_group", group) == group]

    ranked = [
        name
        for name in ("ewc", *spec["treat"], *spec["influence"])
        if name not in YARDSTICKS and layout.influence(case_id, name, in_names).exists()
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
        gate=_gate(layout, case_id) if spec["gate"] else [],
        missing=list(read_parquet(layout.table("recovery", case_id))[1]["missing"]),
        method=method,
        scores=load_scores(layout.influence(case_id, method, in_names), data.fit.examples) if method else None,
    )


def _gate(layout: Layout, case_id: str) -> list[Row]:
    judged: list[Row] = read_parquet(layout.table("verdicts", case_id))[0].to_pylist()
    return [row for row in judged if row["judge"] == "gate"]
