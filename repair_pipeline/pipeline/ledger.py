"""The ledger of holdout reads. A holdout that is read for many decisions is no longer unseen."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from safetensors.torch import save

from repair_pipeline.cases.sources import KnownData
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.ids import digest, input_digests
from repair_pipeline.evaluation.gate import FEWEST_HELD_OUT
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.storage.files import read_parquet, read_tensors
from repair_pipeline.storage.records import fingerprint, save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.types import Examples, FailureGroup, Progress

_HASHED = re.compile(r"([0-9a-f]{16})-\d+$")
"""An id that is the hash of a row's raw input, and its occurrence."""


def write_reads(case: Case, path: Path, progress: Progress) -> None:
    """Write ``holdout_reads``: the held-out failures that the case reads now, added to those that it read before."""
    add_reads(case, path, repaired(case))


def add_reads(case: Case, path: Path, reader: str) -> None:
    """Add to ``path`` that ``reader`` reads the case's holdout now. The time of its first read is kept."""
    rows = read_parquet(path)[0].to_pylist() if path.exists() else []
    now = datetime.now(UTC)
    known = {(row["example_id"], row["model"]) for row in rows}
    for view in case.views:
        contents = _contents(view.spec, view.partition.holdout)
        for at, example_id in enumerate(view.partition.holdout.ids.tolist()):
            if (example_id, reader) not in known:
                read = {"failure_group": view.group, "example_id": example_id, "tests": case.spec.tests}
                content = contents[at] if contents else None
                rows.append({**read, "content": content, "model": reader, "read_at": now})
    save_rows(path, "holdout_reads", rows, notes={})


def _contents(spec: CaseSpec, holdout: Examples) -> list[str] | None:
    """A digest of each holdout row; None for a data set of the studies, on which many models are judged."""
    return None if isinstance(spec.dataset, KnownData) else input_digests(holdout.inputs)


def repaired(case: Case) -> str:
    """16 hex digits of the data and the base model that the case repairs; these may change under one case id."""
    tensors, _ = read_tensors(case.base_model_path)  # the file's bytes hold the seconds that it took, too
    return digest(fingerprint(case.data).encode() + save(tensors))


def earlier_reads(view: GroupView, reader: str | None = None) -> tuple[Bool[np.ndarray, " h"], int]:
    """Which rows of the group's holdout an earlier reader was judged on, and how many have read any of them.

    A case whose data or weights have changed since is an earlier reader too. A row is known by its test data and id, by
    the hash of its raw input where that is its id, and by its input as the model reads it: a copy of the test data
    elsewhere is no new holdout.

    Args:
        reader: who reads them now, and has been noted to; None: the case's own repair.
    """
    return _earlier_reads(view, view.partition.holdout, (view.id, reader or repaired(view)))


def expected_reads(case: Case, holdout: Examples) -> tuple[Bool[np.ndarray, " h"], int]:
    """What ``earlier_reads`` will return for this holdout once the case has run.

    Args:
        case: a case that may not have run.
        holdout: the failures that it will be judged on.
    """
    made = case.dataset_path.exists() and case.base_model_path.exists()
    return _earlier_reads(case, holdout, (case.id, repaired(case) if made else ""), datetime.now(UTC))


def _earlier_reads(
    case: Case, holdout: Examples, this_reader: tuple[str, str], otherwise: datetime | None = None
) -> tuple[Bool[np.ndarray, " h"], int]:
    """As ``earlier_reads``; ``otherwise`` is when ``this_reader`` reads rows for which no read of its is noted."""
    reads = query(case.layout, "SELECT * FROM holdout_reads").to_pylist()
    ids, contents = holdout.ids.tolist(), _contents(case.spec, holdout)
    when = dict.fromkeys(ids, otherwise) if otherwise else {}
    when |= {row["example_id"]: row["read_at"] for row in reads if (row["case_id"], row["model"]) == this_reader}
    ids_by_identity = defaultdict[tuple[str | None, str], set[str]](set)
    for at, example_id in enumerate(ids):
        ids_by_identity[case.spec.tests, example_id].add(example_id)
        if contents:
            ids_by_identity[None, contents[at]].add(example_id)
            if input_hash := _HASHED.match(example_id):
                ids_by_identity[None, input_hash[1]].add(example_id)
    read, readers = set[str](), set[tuple[str, str]]()
    for row in reads:
        reader_of_row, input_hash = (row["case_id"], row["model"]), _HASHED.match(row["example_id"])
        identities = [(row["tests"], row["example_id"])]
        if row["content"]:  # not a data set of the studies
            identities += [(None, row["content"]), *([(None, input_hash[1])] if input_hash else [])]
        rows = set[str]().union(*(ids_by_identity.get(identity, ()) for identity in identities))
        earlier = {example_id for example_id in rows if row["read_at"] < when[example_id]}
        if earlier and reader_of_row != this_reader:
            read |= earlier
            readers.add(reader_of_row)
    return np.array([example_id in read for example_id in ids], dtype=bool), len(readers)


def announced_reuse(case: Case, holdouts: Mapping[FailureGroup, Examples]) -> Iterator[tuple[FailureGroup, str, bool]]:
    """What a person should know before a run about rows that earlier repairs were judged on.

    Args:
        case: a case that may not have run.
        holdouts: the failures that it will be judged on, by failure group.

    Yields:
        A group of which earlier repairs read rows, the message, and whether enough rows are left to accept a repair.
    """
    for group, holdout in holdouts.items() if case.spec.gate else ():
        read, times = expected_reads(case, holdout)
        if not read.any():
            continue
        says = f"{read.sum()} of {len(holdout)} in the holdout were read by {times} earlier repair{'s'[: times > 1]}"
        left = len(holdout) - int(read.sum())
        if left < FEWEST_HELD_OUT:
            yield group, f"{says}, so at best recommended can come out: report new failures, or add test rows", False
        else:
            yield group, f"{says} and do not count: the other {left} decide", True
