"""What Dagster's pages say of what a step has made: sizes, numbers, pictures, and how to ask for more."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from repair_pipeline.defs.assets.looks import picture, question, shown_table
from repair_pipeline.evaluation.detection import detect
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.reporting.figures import case_figures
from repair_pipeline.storage.files import Notes, read_parquet, read_tensor_notes, read_tensors
from repair_pipeline.storage.records import load_scores
from repair_pipeline.tracking.runs import run_url
from repair_pipeline.types import Causes

Measures = dict[str, Any]


def measures(step: Step, case: Case) -> Measures:
    """The metadata of a materialisation."""
    paths = [file.path for file in step.files(case)]
    match step.name.split("_", 1):
        case ["influence", method]:
            found = _influence(case, method)
        case ["repaired", _]:
            found = _repaired(paths)
        case _:
            found = _MEASURES[step.name](case)
    return {**found, **{path.name: dg.MetadataValue.path(path) for path in paths}}


def _corrupted_dataset(case: Case) -> Measures:
    data, (table, notes) = case.data, read_parquet(case.dataset_path)
    return {
        "dagster/row_count": len(table),
        "fit": len(data.fit.examples),
        "validation": len(data.validation.examples),
        "test": len(data.test),
        "planted_in_fit": len(data.fit.corrupted_ids),
        "planted_in_validation": len(data.validation.corrupted_ids),
        "classes": len(data.classes),
        **_cost(notes),
    }


def _base_model(case: Case) -> Measures:
    tensors, notes = read_tensors(case.base_model_path)
    return {"parameters": sum(tensor.numel() for tensor in tensors.values()), **_cost(notes)}


def _fisher_diagonal(case: Case) -> Measures:
    tensors, notes = read_tensors(case.fisher_path)
    fisher = tensors["fisher"]
    return {"mean": fisher.mean().item(), "largest": fisher.max().item(), "rows": notes["rows"], **_cost(notes)}


def _failure_partition(case: Case) -> Measures:
    table, notes = read_parquet(case.partition_path)
    sizes = {name: len(part) for name, part in case.partition.parts().items()}
    right = sizes["guard"] + sizes["remaining"]
    return {
        "dagster/row_count": len(table),
        "base_test_accuracy": right / sum(sizes.values()),
        "failures": sum(sizes.values()) - right,
        **sizes,
        **_cost(notes),
        "ask": question(f"SELECT split, count(*) AS rows FROM examples WHERE case_id = '{case.id}' GROUP BY split"),
    }


def _influence(case: Case, method: str) -> Measures:
    case = case.each_group()[0]
    rows, (_, notes) = case.data.fit, read_parquet(case.influence_path(method))
    scores = load_scores(case.influence_path(method), rows.examples)
    # How many are causes may follow another method's scores, so it is the evaluation that says it.
    measured = asdict(detect(scores, rows.corrupted, Causes(())))
    found = {
        key: value
        for key, value in measured.items()
        if key in ("auc", "average_precision", "precision_at_n") and value is not None
    }
    said = {key: value for key, value in notes.items() if isinstance(value, (int, float, str))}
    where = f"case_id = '{case.id}' AND method = '{method}'"
    return {
        "dagster/row_count": len(scores.ids),
        **found,
        **said,
        "ask": question(f"SELECT * FROM influence WHERE {where} ORDER BY rank LIMIT 20"),
    }


def _repaired(paths: list[Path]) -> Measures:
    columns = ("influence_method", "removes", "removed", "seconds")
    cells = [{key: notes[key] for key in columns} for notes in map(read_tensor_notes, paths)]
    return {"cells": len(cells), "models": shown_table(pa.Table.from_pylist(cells))}


def _evaluation(case: Case) -> Measures:
    detection, _ = read_parquet(case.layout.table("detection", case.id))
    recovery, _ = read_parquet(case.layout.table("recovery", case.id))
    found = {f"auc_{row['method']}": row["auc"] for row in detection.to_pylist() if row["auc"] is not None}
    for row in recovery.to_pylist():
        cell = "_".join(filter(None, (row["influence_method"], row["treatment"])))
        found |= {f"holdout_{cell}": row["holdout_accuracy"], f"remaining_{cell}": row["remaining_accuracy"]}
    return {
        "dagster/row_count": len(recovery),
        "missing": ", ".join(missing(case)) or "nothing",
        "recovery": shown_table(recovery.select(list(_RECOVERY)).rename_columns(list(_RECOVERY.values()))),
        "detection": shown_table(detection.select(["method", "auc", "precision_at_n", "precision", "recall"])),
        "ask": question(f"SELECT * FROM recovery WHERE case_id = '{case.id}'"),
        **found,
    }


_RECOVERY = {
    "influence_method": "causes of",
    "treatment": "treatment",
    "removed": "removed",
    "query_accuracy": "query",
    "holdout_accuracy": "holdout",
    "remaining_accuracy": "remaining",
}
"""Columns that a page has room for, by names that leave it room."""


def _report(case: Case) -> Measures:
    figures = case_figures(case.layout, case.id, case.data, case.each_group()[0].partition)
    return {name: picture(name, figure) for name, figure in figures.items()}


def _tracked_run(case: Case) -> Measures:
    run = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    return {"mlflow_run": dg.MetadataValue.url(run_url(run)), "mlflow_run_id": run["run_id"]}


def _pairs(case: Case) -> Measures:
    table, notes = read_parquet(case.layout.table("pairs", case.id))
    ask = question(f"SELECT * FROM pairs WHERE case_id = '{case.id}' AND rank <= 5")
    return {"dagster/row_count": len(table), **_cost(notes), "ask": ask}


def _gate_controls(case: Case) -> Measures:
    return {"ask": question(f"SELECT * FROM verdicts WHERE case_id = '{case.id}'")}


def _candidate(case: Case) -> Measures:
    said = json.loads(case.layout.candidate(case.id).read_text(encoding="utf-8"))
    known = {key: value for key, value in said.items() if value is not None}
    return {**known, "promote": f"repair promote {said['name']}"}


_MEASURES: Mapping[str, Callable[[Case], Measures]] = {
    "corrupted_dataset": _corrupted_dataset,
    "base_model": _base_model,
    "fisher_diagonal": _fisher_diagonal,
    "failure_partition": _failure_partition,
    "pairs": _pairs,
    "gate_controls": _gate_controls,
    "candidate": _candidate,
    "evaluation": _evaluation,
    "report": _report,
    "tracked_run": _tracked_run,
}


def _cost(notes: Notes) -> Measures:
    return {"seconds": notes["seconds"], "device": notes["device"]}
