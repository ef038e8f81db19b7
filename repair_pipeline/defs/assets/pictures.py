"""The report's charts, of one step: drawn when it has run, and before there are tables to report on."""

from __future__ import annotations

from typing import Any

import dagster as dg

from repair_pipeline.defs.assets.looks import picture
from repair_pipeline.evaluation.detection import detection_curve
from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.pipeline.patch import contact_sheet_of
from repair_pipeline.reporting import charts, scatter
from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.gallery import are_images
from repair_pipeline.reporting.picture import Picture, look
from repair_pipeline.types import InfluenceScores

Shown = dict[str, dg.MarkdownMetadataValue]


def of_failures(view: GroupView) -> Shown:
    """Failures by class."""
    with look():
        return _shown(failure_classes=charts.failure_classes(_evidence(view)))


def of_influence(view: GroupView, method: str, scores: InfluenceScores, detected: Row) -> Shown:
    """The histogram of a method's scores and, where something is planted, how soon its ranking finds it.

    Args:
        detected: ``auc`` and ``precision_at_n``.
    """
    planted = view.data.fit.corrupted
    inspected, found = detection_curve(scores, planted) if planted.any() else ((), ())
    points: list[Row] = [
        {"method": method, "inspected": int(at), "found": int(count)}
        for at, count in zip(inspected, found, strict=True)
    ]
    evidence = _evidence(view, method=method, scores=scores, curve=points, detection=[{"method": method, **detected}])
    with look():
        drawn = {"influence_histogram": charts.influence_histogram(evidence)}
        if points:
            drawn["detection_curve"] = charts.detection_curve(evidence)
    return _shown(**drawn)


def of_pairs(view: GroupView) -> Shown:
    """The contact sheet: failures beside the rows that harm each most, where inputs are images."""
    return _shown(contact_sheet=contact_sheet_of(view)) if are_images(view.data.test) else {}


def of_recovery(view: GroupView, rows: list[Row]) -> Shown:
    """Holdout against remaining, of one failure group."""
    with look():
        return _shown(trade_off=scatter.trade_off(_evidence(view, recovery=rows))) if rows else {}


def _shown(**drawn: Picture) -> Shown:
    return {name: picture(name, drawing.figure) for name, drawing in drawn.items()}


def _evidence(view: GroupView, **known: Any) -> Evidence:
    """What is known of a view so far, as the charts take it."""
    unknown: dict[str, Any] = {
        "case": {"case_id": view.id},
        "spec": view.spec.resolved,
        "detection": [],
        "curve": [],
        "recovery": [],
        "timings": [],
        "gate": [],
        "patch": [],
        "opposing": [],
        "contact_sheet": None,
        "missing": [],
        "method": None,
        "scores": None,
    }
    return Evidence(**unknown | known, group=view.group, data=view.data, partition=view.partition)
