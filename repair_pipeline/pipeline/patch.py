"""The data patch of a case: which rows to drop or relabel, and why."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch

from repair_pipeline.influence.pairs import pairs
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.gate import Repair, repair
from repair_pipeline.reporting.contact_sheet import contact_sheet
from repair_pipeline.reporting.gallery import are_images
from repair_pipeline.reporting.picture import Picture, png
from repair_pipeline.reporting.picture import look as drawn
from repair_pipeline.storage.files import read_parquet, write_bytes
from repair_pipeline.storage.records import load_scores, save_rows
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.training.fit import logits, predictions
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Progress

log = logging.getLogger(__name__)

PAIRED = 200
"""The most harmful rows, which are paired with every failure."""
_NAMED = 3
"""Failures that a row of the patch names."""


def write_pairs(case: Case, path: Path, progress: Progress) -> None:
    """Write ``pairs``: the first-order influence of the most harmful rows on each query failure."""
    watch, rows = Stopwatch(case.device), list[dict[str, Any]]()
    for view in case.views:
        task = view.task("pairs", progress)
        harmful = load_scores(view.influence_path(case.spec.treat[0]), task.fit).top(PAIRED)
        causes, failures = task.fit[task.fit.having(harmful.as_set)], task.tests.query
        values = pairs(task, failures, causes)
        for failure_id, of_failure in zip(failures.ids.tolist(), values, strict=True):
            # Ties are broken by id, as everywhere.
            order = np.lexsort((causes.ids, -of_failure.numpy())).tolist()
            rows += [
                {
                    "failure_group": view.group,
                    "failure_id": failure_id,
                    "example_id": str(causes.ids[at]),
                    "influence": of_failure[at].item(),
                    "rank": rank,
                }
                for rank, at in enumerate(order, start=1)
            ]
    save_rows(path, "pairs", rows, watch.notes(kind="first-order"))


def write_patch(case: Case, path: Path, progress: Progress) -> None:
    """Write ``patch``, its copies as Parquet and CSV for the user, and the contact sheet."""
    watch, rows = Stopwatch(case.device), list[dict[str, Any]]()
    _keep_edits(case, path)
    for view in case.views:
        repaired = repair(view)
        if repaired and repaired.removed:
            rows += _patch(view, repaired, progress)
    save_rows(path, "patch", rows, watch.notes())
    schema = pa.schema([field for field in TABLES["patch"] if field.name != "case_id"])
    table, binary = pa.Table.from_pylist(rows, schema=schema), io.BytesIO()
    pa.parquet.write_table(table, binary)
    write_bytes(case.layout.patch(case.id, "patch.csv"), _as_csv(table))
    write_bytes(case.layout.patch(case.id, "patch.parquet"), binary.getvalue())
    if rows and are_images(case.data.test):
        write_bytes(case.layout.patch(case.id, "contact_sheet.png"), png(contact_sheet_of(case.first_view)))


def _as_csv(table: pa.Table) -> bytes:
    text = io.BytesIO()
    pa.csv.write_csv(table, text)
    return text.getvalue()


def _keep_edits(case: Case, path: Path) -> None:
    """Keep the user's edits of ``patch.csv`` as ``patch.edited.csv`` before the patch is made anew."""
    csv = case.layout.patch(case.id, "patch.csv")
    if not (csv.exists() and path.exists()):
        return
    edited = csv.read_bytes()
    if edited != _as_csv(read_parquet(path)[0]):
        kept = csv.with_name("patch.edited.csv")
        write_bytes(kept, edited)
        log.warning("the patch is made anew; your edits of %s are kept in %s", csv, kept)


def _patch(view: GroupView, repaired: Repair, progress: Progress) -> list[dict[str, Any]]:
    fit, names = view.data.fit.examples, view.data.classes
    scores = load_scores(view.influence_path(repaired.influence_method or view.spec.treat[0]), fit)
    at = {example_id: row for row, example_id in enumerate(fit.ids.tolist())}
    rank_of = {row: rank for rank, row in enumerate(scores.order.tolist(), start=1)}
    causes = [at[example_id] for example_id in repaired.causes.ids]
    # The base model has learnt the causes, and a model repaired from it may repeat their labels. A treatment that
    # pushes their labels away predicts another class for every row, right or wrong, so it suggests nothing.
    suggests = not TREATMENTS[repaired.treatment].opposes
    removed, model = fit[torch.tensor(causes)], view.model(view.model_path(repaired.variant))
    probabilities, suggested = logits(model, removed, progress=progress).softmax(dim=1).max(dim=1)
    opposed = _opposed(view)
    rows = []
    for row, probability, label in zip(causes, probabilities.tolist(), suggested.tolist(), strict=True):
        example_id, given = str(fit.ids[row]), int(fit.labels[row])
        relabel = suggests and label != given and probability > 0.5
        failures = opposed.get(example_id, [])
        reason = f"rank {rank_of[row]} of {len(fit)} by influence"
        reason += f", opposes {len(failures)} of {len(view.partition.query)} failures" if failures else ""
        reason += f"; the repaired model says {names[label]} with probability {probability:.2f}"
        rows.append(
            {
                "failure_group": view.group,
                "example_id": example_id,
                "action": "relabel" if relabel else "drop",
                "influence": scores.values[row].item(),
                "rank": rank_of[row],
                "label": names[given],
                "suggested_label": names[label] if relabel else None,
                "failures": ", ".join(failures[:_NAMED]),
                "reason": reason,
            }
        )
    return rows


def _paired(view: GroupView) -> list[dict[str, Any]]:
    path = view.layout.table("pairs", view.id)
    rows = read_parquet(path)[0].to_pylist() if path.exists() else []
    return [row for row in rows if row["failure_group"] == view.group and row["influence"] > 0]


def _opposed(view: GroupView) -> dict[str, list[str]]:
    """For each of the most harmful rows, the failures that it opposes, most opposed first."""
    failures_by_row: dict[str, list[str]] = {}
    for row in sorted(_paired(view), key=lambda row: (-row["influence"], row["failure_id"])):
        failures_by_row.setdefault(row["example_id"], []).append(row["failure_id"])
    return failures_by_row


def contact_sheet_of(view: GroupView) -> Picture:
    """A picture of failures beside the rows that harm each of them most, from ``pairs``."""
    failures, paired = view.partition.query, dict[str, list[tuple[str, float]]]()
    for row in _paired(view):
        paired.setdefault(row["failure_id"], []).append((row["example_id"], row["influence"]))
    predicted = predictions(view.model(view.base_model_path), failures)
    predicted_by_id = dict(zip(failures.ids.tolist(), predicted.tolist(), strict=True))
    with drawn():
        return contact_sheet(view.data, failures, paired, predicted_by_id)
