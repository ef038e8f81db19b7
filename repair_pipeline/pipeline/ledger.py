"""Who has read which held-out failures: a holdout that is read again and again is fitted in the end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from safetensors.torch import save

from repair_pipeline.cases.sources import KnownData
from repair_pipeline.datasets.ids import digest, input_digests
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.storage.files import read_parquet, read_tensors
from repair_pipeline.storage.records import fingerprint, save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.types import Progress


def write_reads(case: Case, path: Path, progress: Progress) -> None:
    """``holdout_reads``: the failures whose verdict the case is about to read, beside all that it has read before."""
    add_reads(case, path, repaired(case))


def add_reads(case: Case, path: Path, reader: str) -> None:
    """Add to ``path`` that ``reader`` reads the case's holdout now; when it first did so is kept."""
    rows = read_parquet(path)[0].to_pylist() if path.exists() else []
    now = datetime.now(UTC)
    known = {(row["example_id"], row["model"]) for row in rows}
    for view in case.views:
        contents = _contents(view)
        for at, example_id in enumerate(view.partition.holdout.ids.tolist()):
            if (example_id, reader) not in known:
                said = {"failure_group": view.group, "example_id": example_id, "tests": case.spec.tests}
                content = contents[at] if contents else None
                rows.append({**said, "content": content, "model": reader, "read_at": now})
    save_rows(path, "holdout_reads", rows, notes={})


def _contents(view: GroupView) -> list[str] | None:
    """What each row of the holdout holds; None for a data set of the studies, which many models are judged on."""
    known = isinstance(view.spec.dataset, KnownData)
    return None if known else input_digests(view.partition.holdout.inputs)


def repaired(case: Case) -> str:
    """What a case repairs, in 16 hex digits: its data and weights may change under the same id."""
    tensors, _ = read_tensors(case.base_model_path)  # the file's bytes hold the seconds that it took, too
    return digest(fingerprint(case.data).encode() + save(tensors))


def earlier_reads(view: GroupView, reader: str | None = None) -> tuple[Bool[np.ndarray, " h"], int]:
    """Which rows of the group's holdout an earlier reader was judged on, and how many have read any of them.

    A view whose data or weights have changed since is an earlier reader too. A row is known by its test data and id,
    and by what it holds: a copy of the test data elsewhere, or under other ids, is no new holdout.

    Args:
        reader: who reads them now, and has been noted to; None: the case's own repair.
    """
    reads = query(view.layout, "SELECT * FROM holdout_reads").to_pylist()
    ids, contents, us = view.partition.holdout.ids.tolist(), _contents(view), (view.id, reader or repaired(view))
    when = {row["example_id"]: row["read_at"] for row in reads if (row["case_id"], row["model"]) == us}
    ours: dict[tuple[str | None, str], str] = {(view.spec.tests, example_id): example_id for example_id in ids}
    if contents:
        ours |= {(None, content): example_id for content, example_id in zip(contents, ids, strict=True)}
    read, repairs = set[str](), set[tuple[str, str]]()
    for row in reads:
        for name in ((row["tests"], row["example_id"]), (None, row["content"])):
            by, same = (row["case_id"], row["model"]), ours.get(name)
            if same and by != us and row["read_at"] < when[same]:
                read.add(same)
                repairs.add(by)
    return np.array([example_id in read for example_id in ids], dtype=bool), len(repairs)
