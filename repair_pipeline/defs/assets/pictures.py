"""The report's charts for a single step, drawn when it has run, before the case has all its tables."""

from __future__ import annotations

from typing import Any

import dagster as dg

from repair_pipeline.defs.assets.values import figure_value
from repair_pipeline.evaluation.detection import detection_curve
from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.pipeline.patch import contact_sheet_of
from repair_pipeline.reporting import charts, scatter
from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.gallery import are_images
from repair_pipeline.reporting.picture import Picture, look
from repair_pipeline.types import InfluenceScores

Pictures = dict[str, dg.MarkdownMetadataValue]


def failure_pictures(view: GroupView) -> Pictures:
    """The number of failures in each class."""
    with look():
        return _values(failure_classes=charts.failure_classes(_evidence(view)))


def influence_pictures(view: GroupView, method: str, scores: InfluenceScores, detected: Row) -> Pictures:
    """The histogram of a method's scores, and its detection curve if the data have planted rows.

    Args:
        view: the failure group.
        method: the influence method.
        scores: its scores.
        detected: its ``auc`` and ``precision_at_n``.
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
    return _values(**drawn)


def pair_pictures(view: GroupView) -> Pictures:
    """The contact sheet, if inputs are images: failures beside the rows most harmful to each."""
    return _values(contact_sheet=contact_sheet_of(view)) if are_images(view.data.test) else {}


def recovery_pictures(view: GroupView, rows: list[Row]) -> Pictures:
    """Holdout against remaining accuracy for one failure group."""
    with look():
        return _values(trade_off=scatter.trade_off(_evidence(view, recovery=rows))) if rows else {}


def _values(**drawn: Picture) -> Pictures:
    return {name: figure_value(name, drawing.figure) for name, drawing in drawn.items()}


def _evidence(view: GroupView, **known: Any) -> Evidence:
    """The ``Evidence`` for the charts, with everything but ``known`` left empty."""
    empty: dict[str, Any] = {
        "case": {"case_id": view.id},
        "spec": view.spec.resolved,
        "detection": [],
        "curve": [],
        "recovery": [],
        "timings": [],
        "gate": [],
        "doubtful": [],
        "patch": [],
        "patch_verdict": None,
        "opposing": [],
        "fewer_paired": {},
        "contact_sheet": None,
        "missing": [],
        "method": None,
        "scores": None,
    }
    return Evidence(**empty | known, group=view.group, data=view.data, partition=view.partition)
