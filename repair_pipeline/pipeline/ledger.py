"""Who has read which held-out failures: a holdout that is read again and again is fitted in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from repair_pipeline.pipeline.case import Case
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.types import Progress


def write_reads(case: Case, path: Path, progress: Progress) -> None:
    """``holdout_reads``: the failures whose verdict the case is about to read. When it first did is kept."""
    first = {row["example_id"]: row["read_at"] for row in read_parquet(path)[0].to_pylist()} if path.exists() else {}
    rows, now = [], datetime.now(UTC)
    for look in case.each_group():
        for example_id in look.partition.holdout.ids.tolist():
            read_at = first.get(example_id, now)
            said = {"failure_group": look.group, "example_id": example_id, "tests": case.spec.tests}
            rows.append({**said, "read_at": read_at})
    save_rows(path, "holdout_reads", rows, notes={})


def earlier_reads(case: Case) -> tuple[Bool[np.ndarray, " h"], int]:
    """Which rows of the group's holdout an earlier case has read, and how many cases have read any of them."""
    reads = query(case.layout, "SELECT case_id, example_id, tests, read_at FROM holdout_reads").to_pylist()
    ids = case.partition.holdout.ids.tolist()
    ours = {row["example_id"]: row["read_at"] for row in reads if row["case_id"] == case.id}
    ours = {example_id: ours[example_id] for example_id in ids}
    earlier = [
        row
        for row in reads
        if row["case_id"] != case.id and row["tests"] == case.spec.tests and row["example_id"] in ours
        if row["read_at"] < ours[row["example_id"]]
    ]
    read = {row["example_id"] for row in earlier}
    return np.array([example_id in read for example_id in ids], dtype=bool), len({row["case_id"] for row in earlier})
