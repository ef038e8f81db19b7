"""The data and stored tables that a report on a case uses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import load_scores
from repair_pipeline.types import ALL_FAILURES, CorruptedDataset, FailureGroup, InfluenceScores, TestPartition

Row = Mapping[str, Any]
"""A row of a stored table, by column."""

YARDSTICKS = ("random", "oracle")
"""Influence methods that mark the best and the worst useful ranking. They are no methods to repair with."""
CONTACTS = 5
"""Most training rows that a contact sheet shows beside a failure."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """A case's data and its stored tables, as they were written."""

    case: Row
    group: str
    """The failure group that ``partition`` and the tables below belong to."""
    spec: Mapping[str, Any]
    data: CorruptedDataset
    partition: TestPartition
    detection: list[Row]
    curve: list[Row]
    recovery: list[Row]
    timings: list[Row]
    gate: list[Row]
    """The gate's verdicts, one per failure group; empty if the case has no gate."""
    doubtful: list[Row]
    """Test rows that are weak evidence, of all failure groups; empty if the case has no gate."""
    patch: list[Row]
    """Changes to the training data that the repairs of all failure groups propose; empty if the case has no gate."""
    patch_verdict: Row | None
    """Whether the next training is better with the patch; None where that was not tried."""
    opposing: list[Row]
    """Pairs of a failure and a row that opposes it: at most ``CONTACTS`` per failure, all with influence above 0."""
    fewer_paired: Mapping[str, int]
    """The number of harmful rows that were paired with failures, for groups whose budget did not allow all."""
    contact_sheet: Path | None
    """The PNG of failures beside the training images that oppose them; None if inputs are no images."""
    missing: list[str]
    """Results that the case asks for and no table holds."""
    method: str | None
    """The influence method that the pictures show; None if only yardsticks finished."""
    scores: InfluenceScores | None

    @property
    def planted(self) -> int:
        """Number of planted fit rows."""
        return int(self.data.fit.corrupted.sum())

    @property
    def failures(self) -> int:
        """Number of test rows that the base model gets wrong."""
        return len(self.data.test) - len(self.partition.guard) - len(self.partition.remaining)

    @property
    def suggested(self) -> Mapping[str, str | None]:
        """The label that the patch suggests for each of this group's rows."""
        return {row["example_id"]: row["suggested_label"] for row in self.patch if row["failure_group"] == self.group}

    @property
    def treated(self) -> str | None:
        """The influence method whose causes the case treats first."""
        return next((method for method in self.spec["treat"] if method not in YARDSTICKS), None)


def read_evidence(layout: Layout, case_id: str, data: CorruptedDataset, partition: TestPartition) -> Evidence:
    """Reads a case's tables: rows of one failure group, except that verdicts and patch cover all groups.

    Args:
        layout: where the tables are stored.
        case_id: the case.
        data: its data set.
        partition: the test partition of the failure group to report on.
    """

    case = {"case_id": case_id, **read_parquet(layout.table("cases", case_id))[0].to_pylist()[0]}
    spec = json.loads(case["spec"])
    grouped = bool((spec["failures"] or {}).get("groups"))
    group = _group_of(partition, layout.table("examples", case_id)) if grouped else ALL_FAILURES

    def rows(table: str) -> list[Row]:
        stored: list[Row] = read_parquet(layout.table(table, case_id))[0].to_pylist()
        return [row for row in stored if row.get("failure_group", group) == group]

    ranked = [
        name
        for name in ("ewc", *spec["treat"], *spec["influence"])
        if name not in YARDSTICKS and layout.influence(case_id, name, group.phrase("{}")).exists()
    ]
    method = ranked[0] if ranked else None
    path = layout.influence(case_id, method, group.phrase("{}")) if method else None
    sheet = layout.patch(case_id, "contact_sheet.png")
    verdicts = _gate_table(layout, "verdicts", case_id) if spec["gate"] else []
    return Evidence(
        case=case,
        group=group,
        spec=spec,
        data=data,
        partition=partition,
        detection=rows("detection"),
        curve=rows("detection_curve"),
        recovery=rows("recovery"),
        timings=rows("timings"),
        gate=[row for row in verdicts if row["judge"] == "gate"],
        doubtful=_gate_table(layout, "doubtful_tests", case_id) if spec["gate"] else [],
        patch=_gate_table(layout, "patch", case_id) if spec["gate"] else [],
        patch_verdict=next(iter(_gate_table(layout, "patch_verdicts", case_id)), None) if spec.get("patch") else None,
        opposing=[
            row
            for row in (_gate_table(layout, "pairs", case_id) if spec["gate"] else [])
            if row["failure_group"] == group and row["influence"] > 0 and row["rank"] <= CONTACTS
        ],
        fewer_paired=_fewer_paired(layout.table("pairs", case_id)) if spec["gate"] else {},
        contact_sheet=sheet if spec["gate"] and sheet.exists() else None,
        missing=list(read_parquet(layout.table("recovery", case_id))[1]["missing"]),
        method=method,
        scores=load_scores(path, data.fit.examples) if path else None,
    )


def _group_of(partition: TestPartition, path: Path) -> FailureGroup:
    """The failure group of a partition, looked up by its first row.

    The spec does not tell which group comes first, because it is stored with its keys sorted.
    """
    rows, _ = read_parquet(path)
    member = rows.filter(pa.compute.equal(rows["example_id"], str(partition.holdout.ids[0])))
    return FailureGroup(member["failure_group"][0].as_py())


def _gate_table(layout: Layout, table: str, case_id: str) -> list[Row]:
    """All rows of a table that the gate's steps write; none if the step failed."""
    path = layout.table(table, case_id)
    rows: list[Row] = read_parquet(path)[0].to_pylist() if path.exists() else []
    return rows


def _fewer_paired(path: Path) -> Mapping[str, int]:
    fewer: Mapping[str, int] = read_parquet(path)[1]["fewer"] if path.exists() else {}
    return fewer
