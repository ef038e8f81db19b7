"""What old cases may lose, and why others keep everything. Verdicts, patches and decisions are never removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from repair_pipeline.pipeline.status import Status
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import unused
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.forgetting import forget, standing_cases

KEPT = (
    "cases",
    "groups",
    "detection",
    "recovery",
    "candidates",
    "verdicts",
    "judged_models",
    "patch",
    "patches",
    "patch_verdicts",
    "decisions",
    "applied",
    "holdout_reads",
    "registered",
    "timings",
)
"""Folders of results that a cleared case keeps: what was decided and on what evidence, a row a method or patch row."""


@dataclass(frozen=True)
class Holding:
    """What a case holds that can be removed."""

    case_id: str
    bytes: int
    kept: str | None
    """Why it is kept; None if it may go."""


@dataclass(frozen=True)
class Removed:
    """What was removed."""

    cases: tuple[str, ...]
    in_use: tuple[str, ...]
    """Cases that would have been cleared, but that a process works on."""
    runs: int
    """MLflow runs of the cases."""
    bases: int
    """Folders of data, base models and Fisher diagonals that no case needs any more."""
    bytes: int
    """Of the files below ``home`` that are not MLflow's."""


def remove(layout: Layout, now: datetime, days: int) -> Removed:
    """Clear every case that may go, and remove the bases and downloaded weights that none needs then.

    Args:
        layout: where the cases are.
        now: the time that ages are counted from.
        days: a case that was first registered less than so many days ago is kept.

    Raises:
        InputError: the file system has no locks, or MLflow's server does not answer.
    """
    done, in_use, runs, size, bases = list[str](), list[str](), 0, 0, 0
    for holding in holdings(layout, now, days):
        if holding.kept:
            continue
        cleared = clear(layout, holding.case_id)
        if cleared is None:
            in_use.append(holding.case_id)
        else:
            done.append(holding.case_id)
            runs, size = runs + cleared, size + holding.bytes
    for folder in unused_bases(layout, now, days):
        freed = _remove_unused(folder)
        bases, size = bases + bool(freed), size + freed
    for folder in unused_weights(layout, now, days):
        size += _bytes(folder)
        shutil.rmtree(folder)
    return Removed(tuple(done), tuple(in_use), runs, bases, size)


def holdings(layout: Layout, now: datetime, days: int) -> list[Holding]:
    """What each stored case holds that can be removed, oldest case first.

    Args:
        layout: where the cases are.
        now: the time that ages are counted from.
        days: a case that was first registered less than so many days ago is kept.
    """
    rows = query(
        layout,
        "SELECT case_id, spec, status, created_at, "
        "EXISTS (SELECT 1 FROM decisions WHERE case_id = cases.case_id) "
        "AND NOT EXISTS (SELECT 1 FROM applied WHERE case_id = cases.case_id) AS waits "
        "FROM cases ORDER BY created_at, case_id",
    ).to_pylist()
    specs = {row["case_id"]: json.loads(row["spec"]) for row in rows}
    latest = {_project(specs[row["case_id"]]): row["case_id"] for row in rows}
    deployed = standing_cases(layout)
    found = []
    for row in rows:
        key, spec = row["case_id"], specs[row["case_id"]]
        if size := sum(map(_bytes, _removable(layout, key))):
            kept = (
                _young(row["created_at"], now, days)
                or _busy(row)
                or (None if spec.get("folder") else "it is of a study or of the examples, and not of your own data")
                or (f"it is the latest case of {_project(spec)[0]}" if latest[_project(spec)] == key else None)
                or deployed.get(key)
                or ("decisions of a person wait to be applied" if row["waits"] else None)
            )
            found.append(Holding(key, size, kept))
    return found


def clear(layout: Layout, case_id: str) -> int | None:
    """Remove the scores, weights, pages and MLflow runs of a case. What ``KEPT`` names stays.

    A process that was killed in the middle has removed a part; the next call removes the rest.

    Returns:
        The number of its MLflow runs; None if the case is in use, and nothing was removed.

    Raises:
        InputError: the file system has no locks, or MLflow's server does not answer.
    """
    with unused(layout.table("cases", case_id).parent) as alone:
        path = layout.table("cases", case_id)
        [row] = read_parquet(path)[0].to_pylist()
        if not alone or row["status"] == Status.running:
            return None
        runs = forget(layout, case_id)
        if row["status"] == Status.finished:  # failures of a night that failed wait for the next, whatever is removed
            save_rows(path, "cases", [row | {"status": Status.cleared}], notes={})
        for folder in _removable(layout, case_id):
            shutil.rmtree(folder)
    return runs


def whole_cases(layout: Layout) -> set[str]:
    """The cases that hold something that can be removed."""
    folders = layout.results.glob("*/case_id=*")
    return {folder.name.removeprefix("case_id=") for folder in folders if folder.parent.name not in KEPT}


def unused_bases(layout: Layout, now: datetime, days: int) -> list[Path]:
    """Folders of data, base models and Fisher diagonals that no case needs any more.

    A base that was written to less than ``days`` days ago is kept: a new case may be about to use it.
    """
    whole = whole_cases(layout)
    needed = {
        row["base_id"]
        for row in query(layout, "SELECT case_id, base_id, status FROM cases").to_pylist()
        if row["status"] == Status.running or row["case_id"] in whole
    }
    bases = [
        path
        for path in (layout.results / "bases").glob("base_id=*")
        if path.name.removeprefix("base_id=") not in needed
    ]
    return [path for path in sorted(bases) if not _young(_written(path), now, days)]


def unused_weights(layout: Layout, now: datetime, days: int) -> list[Path]:
    """Downloads of registered weights that no case with results names. They are downloaded again if need be."""
    whole = whole_cases(layout)
    named = {
        row["weights"].removeprefix("models:/")
        for row in query(
            layout, "SELECT case_id, json_extract_string(spec, '$.model.weights') AS weights FROM cases"
        ).to_pylist()
        if row["weights"] and row["case_id"] in whole
    }
    versions = [path for path in (layout.mlflow / "weights").glob("**/*") if path.is_dir() and path.name.isdigit()]
    unnamed = [path for path in sorted(versions) if "/".join(path.parts[-2:]) not in named]
    return [path for path in unnamed if not _young(_written(path), now, days)]


def _remove_unused(folder: Path) -> int:
    """Remove a base; returns its bytes, 0 if a process is using it."""
    with unused(folder) as alone:
        if not alone:
            return 0
        size = _bytes(folder)
        shutil.rmtree(folder)
    return size


def _project(spec: dict[str, Any]) -> tuple[str, str]:
    """What the nights of a template have in common, and the runs of a case file: its model and its folder."""
    return spec.get("template") or spec["name"], spec.get("folder") or ""


def _young(made: datetime, now: datetime, days: int) -> str | None:
    return f"it is less than {days} days old" if now - made < timedelta(days=days) else None


def _busy(row: dict[str, Any]) -> str | None:
    if row["status"] != Status.running:
        return None
    return f"it is running; if its process was killed: repair run {row['case_id']}"


def _removable(layout: Layout, case_id: str) -> Iterator[Path]:
    """Folders of a case that go, wherever they are below the results."""
    for folder in sorted(layout.results.glob(f"*/case_id={case_id}")):
        if folder.parent.name not in KEPT:
            yield folder


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _written(folder: Path) -> datetime:
    times = [path.stat().st_mtime for path in (folder, *_files(folder))]
    return datetime.fromtimestamp(max(times), tz=UTC)
