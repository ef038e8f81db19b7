"""The summary of a case: the few numbers by which cases are compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from repair_pipeline.cases.grid import Variant
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.gate import gate_verdicts, selected_variant
from repair_pipeline.pipeline.next_training import patch_verdict
from repair_pipeline.reporting.descriptions import short_name
from repair_pipeline.reporting.selection import controls
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.types import FailureGroup

_MEASURED = ("query_accuracy", "holdout_accuracy", "remaining_accuracy", "unseen_accuracy")
_PARTS = ("holdout", "remaining", "unseen")
"""Where the task's own number is measured."""
_PATCHED = ("as_is", "patched", "difference", "difference_low", "difference_high")
_JUDGED = ("over_control", "over_control_low", "over_control_high", "gain", "gain_low", "gain_high")


@dataclass(frozen=True)
class Summary:
    """The selected repair of the case's first failure group."""

    repair: str
    """Its short name, from the names in SQL; a note where no repair was made."""
    verdict: str
    """The gate's verdict, or "no gate"."""
    metrics: dict[str, float]
    """Under the names of the tables' columns. ``over_best_control`` is holdout accuracy above that of the best
    control; ``over_control`` and ``gain`` are the gate's, with their 95% intervals; those that begin with ``patch_``
    are of the next training."""


def summary(case: Case) -> Summary:
    """Read the case's tables; the evaluation must have made them."""
    view = case.first_view
    verdicts = {row["failure_group"]: row for row in gate_verdicts(case)}
    judged, metrics, repair = verdicts.get(view.group), dict[str, float](), "no repair was made"
    row = _row(view, selected_variant(view))
    if row is not None:
        repair, rivals = short_name(row), controls(_rows(view, "recovery"), row)
        metrics |= {name: row[name] for name in _MEASURED} | {"removed": float(row["removed"])}
        if measure := row.get("measure"):
            metrics |= {f"{part}_{measure}": row[f"{part}_measure"] for part in _PARTS}
        if rivals:
            best = max(rival["holdout_accuracy"] for rival in rivals)
            metrics["over_best_control"] = row["holdout_accuracy"] - best
    if judged:
        metrics |= {name: judged[name] for name in _JUDGED}
    if case.spec.patch and (patched := patch_verdict(case.layout, case.id)):
        metrics |= {f"patch_{name}": patched[name] for name in _PATCHED}
    treated = case.spec.treat[0] if case.spec.treat else None
    detected = [row for row in _rows(view, "detection") if row["method"] == treated]
    metrics |= {name: row[name] for row in detected for name in ("auc", "precision_at_n") if row[name] is not None}
    return Summary(repair, _said({group: row["verdict"] for group, row in verdicts.items()}), metrics)


def unseen_measures(case: Case) -> tuple[str, float, float] | None:
    """The task's own number of base model and repair on unseen rows, after its name; None without a repair or one."""
    view = case.first_view
    row = _row(view, selected_variant(view))
    base = next((row for row in _rows(view, "recovery") if row["treatment"] == "base"), None)
    if row is None or base is None or row.get("measure") is None:
        return None
    return row["measure"], base["unseen_measure"], row["unseen_measure"]


def _said(verdicts: dict[str, str]) -> str:
    return ", ".join(FailureGroup(group).phrase("{}: ") + verdict for group, verdict in verdicts.items()) or "no gate"


def _row(view: GroupView, variant: Variant | None) -> dict[str, Any] | None:
    if variant is None:
        return None
    identity = {
        "treatment": variant.treatment,
        "influence_method": variant.influence_method,
        "setting": json.dumps(variant.settings, sort_keys=True),
    }
    return next((row for row in _rows(view, "recovery") if identity.items() <= row.items()), None)


def _rows(view: GroupView, table: str) -> list[dict[str, Any]]:
    rows = read_parquet(view.layout.table(table, view.id))[0].to_pylist()
    return [row for row in rows if row["failure_group"] == view.group]
