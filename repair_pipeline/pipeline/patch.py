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
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.datasets.labels import texts
from repair_pipeline.influence.pairs import affordable_rows, pairs
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.gate import Repair, repair
from repair_pipeline.problem.calibration import FALSE_SHARE, within_false_share
from repair_pipeline.problem.suggestions import Suggestions, harm, suggestions
from repair_pipeline.reporting.contact_sheet import contact_sheet
from repair_pipeline.reporting.gallery import are_images
from repair_pipeline.reporting.picture import Picture, png
from repair_pipeline.reporting.picture import look as drawn
from repair_pipeline.storage.files import read_parquet, write_bytes
from repair_pipeline.storage.records import load_scores, save_rows
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Progress

log = logging.getLogger(__name__)

PAIRED = 200
"""The most harmful rows, which are paired with every failure."""
_SURE = 0.9
"""The least probability of being right at which a label is suggested."""
_NAMED = 3
"""Failures that a row of the patch names."""


def write_pairs(case: Case, path: Path, progress: Progress) -> None:
    """Write ``pairs``: the first-order influence of the most harmful rows on each query failure.

    The notes name the groups for which the budget of ``affordable_rows`` allows fewer rows than ``PAIRED``.
    """
    watch, rows, fewer = Stopwatch(case.device), list[dict[str, Any]](), dict[str, int]()
    for view in case.views:
        task = view.task("pairs", progress)
        failures, wanted = task.tests.query, min(PAIRED, len(task.fit))
        paired = affordable_rows(task.theta_hat, len(task.fit), len(failures), wanted)
        if paired < wanted:
            fewer[view.group] = paired
            log.warning("pairs: %d instead of %d rows, or they would cost more than the Fisher", paired, wanted)
        harmful = load_scores(view.influence_path(case.spec.treat[0]), task.fit).top(paired)
        causes = task.fit[task.fit.having(harmful.as_set)]
        ids = causes.ids.tolist()
        for failure_id, of_failure in zip(failures.ids.tolist(), pairs(task, failures, causes).numpy(), strict=True):
            # Ties are broken by id, as everywhere.
            order, values = np.lexsort((causes.ids, -of_failure)).tolist(), of_failure.tolist()
            rows += [
                {
                    "failure_group": view.group,
                    "failure_id": failure_id,
                    "example_id": ids[at],
                    "influence": values[at],
                    "rank": rank,
                }
                for rank, at in enumerate(order, start=1)
            ]
    save_rows(path, "pairs", rows, watch.notes(kind="first-order", fewer=fewer))


def write_patch(case: Case, path: Path, progress: Progress) -> None:
    """Write ``patch``, its copies as Parquet and CSV for the user, and the contact sheet."""
    watch, rows = Stopwatch(case.device), list[dict[str, Any]]()
    _keep_edits(case, path)
    for view in case.views:
        repaired = repair(view)
        if repaired and repaired.removed:
            rows += _patch(view, repaired)
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


def _patch(view: GroupView, repaired: Repair) -> list[dict[str, Any]]:
    fit, classes = view.data.fit.examples, view.data.classes
    scores = load_scores(view.influence_path(repaired.influence_method or view.spec.treat[0]), fit)
    at = {example_id: row for row, example_id in enumerate(fit.ids.tolist())}
    rank_of = {row: rank for rank, row in enumerate(scores.order.tolist(), start=1)}
    causes = sorted((at[example_id] for example_id in repaired.causes.ids), key=lambda row: rank_of[row])
    harmful, suggested = harm_and_suggestions(view)
    probability = harmful if scores.probability is None else scores.probability
    certain = _certain(probability, causes)
    given, new = texts(fit.labels, classes), texts(suggested.labels, classes) if suggested else None
    opposed, rows = _opposed(view), []
    for place, row in enumerate(causes):
        example_id = str(fit.ids[row])
        label, right = (new[row], suggested.probability[row].item()) if suggested and new else (given[row], None)
        relabel = right is not None and right >= _SURE
        failures = opposed.get(example_id, [])
        reason = f"rank {rank_of[row]} of {len(fit)} by influence"
        reason += "" if probability is None else f", harmful with probability {probability[row].item():.2f}"
        reason += f", opposes {len(failures)} of {len(view.partition.query)} failures" if failures else ""
        if right is not None:
            reason += f"; models that did not learn it say {label}, right with probability {right:.2f}"
        rows.append(
            {
                "failure_group": view.group,
                "example_id": example_id,
                "action": "keep" if place >= certain else "relabel" if relabel else "drop",
                "influence": scores.values[row].item(),
                "rank": rank_of[row],
                "probability": None if probability is None else probability[row].item(),
                "label": given[row],
                "suggested_label": label if relabel and place < certain else None,
                "suggestion_probability": right,
                "failures": ", ".join(failures[:_NAMED]),
                "reason": reason,
            }
        )
    return rows


def _certain(probability: Float64[Tensor, " n"] | None, causes: list[int]) -> int:
    """How many of the causes, most harmful first, are changed; the rest are left for a person to decide."""
    if probability is None:
        return len(causes)
    return within_false_share(probability[causes], np.arange(len(causes)), FALSE_SHARE)


def harm_and_suggestions(view: GroupView) -> tuple[Float64[Tensor, " n"] | None, Suggestions | None]:
    """P(harmful) and labels from models that did not learn the given ones; None where the case trains no such models.

    A model that has learnt a wrong label repeats it, so what the base model or one repaired from it predicts is no
    suggestion.
    """
    if not view.spec.cross_fits:
        return None, None
    predicted, given, share = view.out_of_fold(), view.data.fit.examples.labels, view.partition.query_side.failure_share
    _, harmful = harm(view.likelihood, predicted, given, share)
    return harmful, suggestions(view.likelihood, predicted, given, harmful, share)


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
    predicted = texts(predictions(view.model(view.base_model_path), failures), view.data.classes)
    predicted_by_id = dict(zip(failures.ids.tolist(), predicted, strict=True))
    with drawn():
        return contact_sheet(view.data, failures, paired, predicted_by_id)
