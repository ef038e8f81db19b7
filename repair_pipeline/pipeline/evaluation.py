"""The case's tables: what was found, what was repaired, what it cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from repair_pipeline.cases.grid import Variant, variants
from repair_pipeline.cases.sources import FailureGroups
from repair_pipeline.evaluation.detection import detect, detection_curve
from repair_pipeline.evaluation.recovery import recovery
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.causes import causes_of, rankings
from repair_pipeline.pipeline.repair_record import RepairRecord, SearchRecord, read_repair_record
from repair_pipeline.storage.files import Notes, read_parquet, read_tensor_notes
from repair_pipeline.storage.records import load_scores, save_rows
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.training.fit import accuracy
from repair_pipeline.types import Causes, InfluenceScores, Progress

TOLERANCE = 0.02
"""How much of the guard the chosen setting of a treatment may lose."""


def grid(case: Case) -> list[Variant]:
    """Every variant of the recovery table that the case names."""
    return [variant for treatment in case.spec.treatments for variant in variants(case.spec, treatment)]


def repairs(case: Case) -> list[Variant]:
    """The variants that repair rather than compare: the first treated method's causes, by each treatment in turn."""
    return (
        [variant for variant in grid(case) if variant.influence_method == case.spec.treat[0]] if case.spec.treat else []
    )


def missing(case: Case) -> list[str]:
    """What the case names and is not there, because its step failed or was not run."""
    names = []
    for view in case.views:
        wanted = {f"influence_{method}": view.influence_path(method) for method in case.spec.influence}
        wanted |= {variant.name: view.model_path(variant) for variant in grid(case)}
        of_group = view.group.phrase(" of {}")
        names += [name + of_group for name, path in wanted.items() if not path.exists()]
    return names


def _scored(view: GroupView) -> Iterator[tuple[str, InfluenceScores, Notes]]:
    for method in view.spec.influence:
        path = view.influence_path(method)
        if path.exists():
            yield method, load_scores(path, view.data.fit.examples), read_parquet(path)[1]


def write_detection(case: Case, path: Path, progress: Progress) -> None:
    """``detection``: a row per influence method."""
    watch, corrupted = Stopwatch(case.device), case.data.fit.corrupted
    rows = []
    for view in case.views:
        for method, scores, notes in _scored(view):
            countable = all(source.exists() for source in rankings(view, method))
            detection = asdict(detect(scores, corrupted, causes_of(view, method) if countable else Causes(())))
            converged = bool(notes["converged"]) if "converged" in notes else None
            known = {"failure_group": view.group, "method": method, "converged": converged, "seconds": notes["seconds"]}
            rows.append({**known, **detection})
    save_rows(path, "detection", rows, watch.notes(missing=missing(case)))


def write_detection_curve(case: Case, path: Path, progress: Progress) -> None:
    """``detection_curve``: planted rows found against rows inspected; empty where nothing is planted."""
    watch, corrupted = Stopwatch(case.device), case.data.fit.corrupted
    rows: list[dict[str, Any]] = []
    if corrupted.any():
        for view in case.views:
            for method, scores, _ in _scored(view):
                inspected, hits = detection_curve(scores, corrupted)
                rows += [
                    {"failure_group": view.group, "method": method, "inspected": at, "found": count}
                    for at, count in zip(inspected.tolist(), hits.tolist(), strict=True)
                ]
    save_rows(path, "detection_curve", rows, watch.notes())


def write_recovery(case: Case, path: Path, progress: Progress) -> None:
    """``recovery``: a row per variant. Reads the holdout."""
    watch, rows = Stopwatch(case.device), []
    for view in case.views:
        records = _records(view)
        chosen = _chosen(records)
        for done, (variant, record) in enumerate(records.items(), start=1):
            accuracies = asdict(recovery(case.model(view.model_path(variant)), view.partition))
            rows.append(
                {
                    "failure_group": view.group,
                    "influence_method": variant.influence_method,
                    "treatment": variant.treatment,
                    "setting": json.dumps(variant.settings, sort_keys=True),
                    "gamma": record.gamma,
                    "removed": record.removed,
                    "chosen": variant in chosen,
                    "seconds": record.seconds,
                    **accuracies,
                }
            )
            progress(done, len(records))
    save_rows(path, "recovery", rows, watch.notes(missing=missing(case)))


def write_groups(case: Case, path: Path, progress: Progress) -> None:
    """``groups``: what the failures are of which types."""
    watch, failures = Stopwatch(case.device), case.spec.failures
    predicates = failures.groups if isinstance(failures, FailureGroups) else {}
    rows = []
    for view in case.views:
        tests = view.partition
        sizes = {name: len(getattr(tests, name)) for name in ("query", "query_tuning", "holdout")}
        rows.append(
            {
                "failure_group": view.group,
                "predicate": predicates.get(view.group, getattr(failures, "where", None)),
                "rows": len(_members(case, view.group)),
                "failures": sum(sizes.values()) + len(tests.unused_query),
                **sizes,
            }
        )
    save_rows(path, "groups", rows, watch.notes())


def write_cross_harm(case: Case, path: Path, progress: Progress) -> None:
    """``cross_harm``: what repairing one group does to each. Reads the holdout."""
    watch, rows = Stopwatch(case.device), []
    views = case.views
    for view in views:
        there = [variant for variant in repairs(case) if view.model_path(variant).exists()]
        for done, variant in enumerate(there, start=1):
            model = case.model(view.model_path(variant))
            for other in views:
                holdout = other.partition.holdout
                remaining = other.partition.remaining
                remaining = remaining[remaining.having(_members(case, other.group))]
                rows.append(
                    {
                        "failure_group": view.group,
                        "influence_method": variant.influence_method,
                        "treatment": variant.treatment,
                        "affected_group": other.group,
                        "holdout_accuracy": accuracy(model, holdout),
                        "remaining_accuracy": accuracy(model, remaining) if len(remaining) else None,
                        "holdout": len(holdout),
                        "remaining": len(remaining),
                    }
                )
            progress(done, len(there))
    save_rows(path, "cross_harm", rows, watch.notes())


def _members(case: Case, group: str) -> frozenset[str]:
    """Ids of a group's test rows, right or wrong."""
    table, _ = read_parquet(case.partition_path)
    pairs = zip(table["example_id"].to_pylist(), table["failure_group"].to_pylist(), strict=True)
    return frozenset(example_id for example_id, of in pairs if of == group)


def _records(view: GroupView) -> dict[Variant, RepairRecord]:
    """Of every repaired model that is there."""
    return {variant: read_repair_record(path) for variant in grid(view) if (path := view.model_path(variant)).exists()}


def _chosen(records: Mapping[Variant, RepairRecord]) -> set[Variant]:
    """Of a treatment's settings, the one that the tuning failures and the guard speak for; the only one is the one.

    What a search has chosen is not chosen among again: each of its pools has its answer.
    """

    def group(variant: Variant) -> tuple[str, ...]:
        return (
            variant.treatment,
            variant.removes,
            variant.influence_method or "",
            variant.name if variant.removes == "chosen" else "",
        )

    return {
        max(variants, key=lambda variant: records[variant].fitness.worth(TOLERANCE))
        for _, variants in groupby(sorted(records, key=group), key=group)
    }


def chosen_variants(view: GroupView) -> set[Variant]:
    """Of every treatment that is there, the setting that is chosen."""
    return _chosen(_records(view))


def write_candidates(case: Case, path: Path, progress: Progress) -> None:
    """``candidates``: what ``auto`` tried; empty where the case does not ask for it."""
    watch = Stopwatch(case.device)
    rows = [
        {"failure_group": view.group, "pool": search.pool, **repair.row}
        for view in case.views
        for search in searches(view)
        for repair in search.tried
    ]
    save_rows(path, "candidates", rows, watch.notes())


def searches(view: GroupView) -> list[SearchRecord]:
    """The record of each search for a group's repair."""
    return [record.search for record in _records(view).values() if record.search]


def write_timings(case: Case, path: Path, progress: Progress) -> None:
    """``timings``: seconds of every file of the case, gathered from the files themselves."""
    watch = Stopwatch(case.device)
    timed: list[tuple[str | None, str, Notes]] = [
        (None, "corrupted_dataset", read_parquet(case.dataset_path)[1]),
        (None, "base_model", read_tensor_notes(case.base_model_path)),
        (None, "fisher_diagonal", read_tensor_notes(case.fisher_path)),
        (None, "failure_partition", read_parquet(case.partition_path)[1]),
    ]
    for view in case.views:
        timed += [(method, "influence", notes) for method, _, notes in _scored(view)]
        timed += [
            (variant.influence_method, variant.name, asdict(record)) for variant, record in _records(view).items()
        ]
    rows = [
        {"method": method, "step": step, **{key: notes[key] for key in ("seconds", "device", "threads")}}
        for method, step, notes in timed
    ]
    save_rows(path, "timings", rows, watch.notes())
