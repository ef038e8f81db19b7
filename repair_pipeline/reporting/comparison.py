"""The page that compares all finished cases."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean, stdev
from typing import Any
from urllib.parse import quote

from repair_pipeline.errors import InputError
from repair_pipeline.reporting import selection
from repair_pipeline.reporting.descriptions import plain, signed
from repair_pipeline.reporting.evidence import YARDSTICKS, Row
from repair_pipeline.reporting.page import render
from repair_pipeline.reporting.picture import BLUE, GREEN, GREY, INK, PURPLE, VERMILLION, WINE, Picture, canvas, look
from repair_pipeline.reporting.scatter import SHAPES, Point, draw_points
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.types import ALL_FAILURES, FailureGroup

_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, WINE, INK, GREY)
_DIFFERENCES = 3
"""Most differing fields that the name of a family lists."""


@dataclass(frozen=True)
class Compared:
    """One failure group of a finished case. Accuracies are shares; None means that there is nothing to measure."""

    case_id: str
    group: FailureGroup
    family: str
    dataset: str
    seed: int
    verdict: str
    """The gate's verdict without underscores."""
    failures: int | None
    method: str | None
    """The influence method whose causes are treated first, or else the one that is listed first."""
    auc: float | None
    holdout: float | None
    """Holdout accuracy of the judged repair."""
    remaining_change: float | None
    """Accuracy of the judged repair on remaining rows, less that before the repair."""
    control: float | None
    """Holdout accuracy of the best control."""
    report: str | None
    """URL of the case's report relative to this page; None if it has none."""
    number: int
    """Shown in the table and beside its mark in the chart."""

    @property
    def gain(self) -> float | None:
        """Holdout accuracy of the judged repair, less that of the best control."""
        return None if self.holdout is None or self.control is None else self.holdout - self.control

    @property
    def name(self) -> str:
        """The case id, with the failure group if the case has several."""
        return self.case_id + self.group.phrase(": {}")


@dataclass(frozen=True)
class Family:
    """Cases that differ only in their seed."""

    name: str
    cases: Sequence[Compared]

    @property
    def verdicts(self) -> str:
        """The number of cases with each verdict, as text."""
        counted = Counter(case.verdict for case in self.cases)
        return ", ".join(f"{times} {verdict}" for verdict, times in counted.items())

    def over_seeds(self, value: str, scale: float = 1.0) -> MeanSd:
        """Mean and deviation of the field ``value``, over the cases that have it.

        Args:
            value: name of a numeric field of ``Compared``.
            scale: factor for the values.
        """
        known = [getattr(case, value) for case in self.cases if getattr(case, value) is not None]
        return MeanSd([scale * each for each in known])


@dataclass(frozen=True)
class MeanSd:
    """A mean and a sample standard deviation, formatted as text."""

    values: Sequence[float]

    def shown(self, digits: int, sign: str = "") -> str:
        """``mean ± sd (n = N)``, without the deviation if there is one value only."""
        if not self.values:
            return "–"
        centre = f"{mean(self.values):{sign}.{digits}f}".replace("-", "−")
        spread = f" ± {stdev(self.values):.{digits}f}" if len(self.values) > 1 else ""
        return f"{centre}{spread} (n = {len(self.values)})"


def render_comparison(layout: Layout) -> str:
    """The page on all cases in the store, as HTML.

    Raises:
        InputError: no case is finished.
    """
    cases = query(layout, "SELECT * FROM cases ORDER BY case_id").to_pylist()
    finished = [case for case in cases if case["status"] == "finished"]
    if not finished:
        state = f"{len(cases)} registered, none finished" if cases else "none was run"
        raise InputError(f"there is no finished case to compare ({state}): run one first: repair run CASE")
    families = _families(layout, finished)
    rows = [case for family in families for case in family.cases]
    return render(
        "comparison.html.jinja",
        finished=len(finished),
        families=families,
        orders=_orders(rows),
        picture=_scatter(families),
        unfinished=[case for case in cases if case["status"] != "finished"],
    )


def _orders(rows: Sequence[Compared]) -> dict[str, list[Compared]]:
    """The rows in every order that the page offers, by its name: best first, unknown values last."""

    def by(value: str) -> list[Compared]:
        known = [row for row in rows if getattr(row, value) is not None]
        return sorted(known, key=lambda row: -getattr(row, value)) + [row for row in rows if row not in known]

    return {
        "family": list(rows),
        "gain": by("gain"),
        "remaining": by("remaining_change"),
        "AUC": by("auc"),
        "failures": by("failures"),
    }


def _families(layout: Layout, finished: Sequence[Row]) -> list[Family]:
    """The families, ordered by data set and name, with their cases ordered by seed."""
    specs = {case["case_id"]: json.loads(case["spec"]) for case in finished}
    keys = {case_id: _without_seed(spec) for case_id, spec in specs.items()}
    names = _family_names(specs, keys)
    tables = {table: _by_case(layout, table) for table in ("groups", "detection", "recovery", "verdicts")}
    rows = [
        row
        for case in finished
        for row in _compared(layout, case, specs[case["case_id"]], names[keys[case["case_id"]]], tables)
    ]
    # The family's name includes the failure group, so each group is compared with itself only.
    rows.sort(key=lambda row: (row.dataset, row.family, row.seed, row.case_id))
    numbered = [Compared(**(vars(row) | {"number": number})) for number, row in enumerate(rows, start=1)]
    return [Family(name, list(cases)) for (_, name), cases in groupby(numbered, lambda row: (row.dataset, row.family))]


def _by_case(layout: Layout, table: str) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for row in query(layout, f"SELECT * FROM {table}").to_pylist():
        rows.setdefault(row["case_id"], []).append(row)
    return rows


def _compared(
    layout: Layout,
    case: Row,
    spec: Mapping[str, Any],
    family: str,
    tables: Mapping[str, Mapping[str, Sequence[Row]]],
) -> Iterator[Compared]:
    case_id = case["case_id"]

    def rows(table: str, group: str) -> list[Row]:
        return [row for row in tables[table].get(case_id, ()) if row["failure_group"] == group]

    groups = [FailureGroup(row["failure_group"]) for row in tables["groups"].get(case_id, ())] or [ALL_FAILURES]
    report, folder = layout.report(case_id), layout.comparison.parent
    ranked = [method for method in (*spec["treat"], *spec["influence"]) if method not in YARDSTICKS]
    for group in groups:
        recovery = rows("recovery", group)
        repair = next(iter(selection.repairs(recovery, ranked[0] if ranked else None)), None)
        control_rows = selection.controls(recovery, repair) if repair else []
        verdict = next((row["verdict"] for row in rows("verdicts", group) if row["judge"] == "gate"), None)
        detection = next((row for row in rows("detection", group) if row["method"] in ranked[:1]), None)
        counts = next(iter(rows("groups", group)), None)
        yield Compared(
            case_id=case_id,
            group=group,
            family=family + group.phrase(": {}"),
            dataset=case["dataset"],
            seed=case["seed"],
            verdict=plain(verdict) if verdict else "not judged" if spec["gate"] else "no gate",
            failures=counts["failures"] if counts else None,
            method=detection["method"] if detection else None,
            auc=detection["auc"] if detection else None,
            holdout=repair["holdout_accuracy"] if repair else None,
            remaining_change=repair["remaining_accuracy"] - 1 if repair else None,
            control=max((row["holdout_accuracy"] for row in control_rows), default=None),
            report=quote(os.path.relpath(report, folder)) if report.exists() else None,
            number=0,
        )


def _without_seed(spec: Mapping[str, Any]) -> str:
    fields = {key: value for key, value in spec.items() if key not in ("name", "seed")}
    return json.dumps({"family": _family(spec), **fields}, sort_keys=True)


def _family(spec: Mapping[str, Any]) -> str:
    """A preset's name without its seed."""
    return re.sub(r"-s\d+$", "", spec["name"])


def _family_names(specs: Mapping[str, Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, str]:
    """A unique name for every family, by key.

    Families of the same preset name also list the fields that differ from the first family of that name.
    """
    firsts: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for case_id, spec in specs.items():
        name, fields = _family(spec), dict(_fields({**spec, "name": "", "seed": ""}))
        first = firsts.setdefault(name, fields)
        changed = [key for key in {**first, **fields} if first.get(key) != fields.get(key)]
        shown = [f"{key}={fields.get(key, 'none')}" for key in changed[:_DIFFERENCES]]
        more = ["…"] if len(changed) > _DIFFERENCES else []
        names.setdefault(keys[case_id], " ".join([name, *shown, *more]))
    repeated = {name for name, times in Counter(names.values()).items() if times > 1}
    unique = {name: iter(range(1, len(names) + 1)) for name in repeated}
    return {key: f"{name} ({next(unique[name])})" if name in unique else name for key, name in names.items()}


def _fields(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a spec as (dotted key, value)."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _fields(each, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _scatter(families: Iterable[Family]) -> Picture | None:
    """Gain over the best control against the change on remaining rows; None if no case has both."""
    points, alt_texts = [], []
    for at, family in enumerate(families):
        colour = _COLOURS[at % len(_COLOURS)]
        shown = [case for case in family.cases if case.gain is not None and case.remaining_change is not None]
        for place, case in enumerate(shown):
            x, y = 100 * (case.remaining_change or 0.0), 100 * (case.gain or 0.0)
            label = None if place else family.name
            points.append(Point(x, y, case.number, SHAPES[at % len(SHAPES)], colour, colour, label))
            alt_texts.append(f"{case.number}, {case.name}: gain {signed(y)}, remaining {signed(x)}")
    if not points:
        return None
    with look():
        figure, ax = canvas(3.4 + 0.2 * sum(point.label is not None for point in points))
        ax.axhline(0, color=INK, lw=1)
        low, high = min(0.0, *(point.x for point in points)), max(0.0, *(point.x for point in points))
        bottom, top = min(0.0, *(point.y for point in points)), max(0.0, *(point.y for point in points))
        margin_x, margin_y = 0.08 * (high - low or 1), 0.08 * (top - bottom or 1)
        ax.set(xlim=(low - margin_x, high + margin_x), ylim=(bottom - margin_y, top + margin_y))
        ax.set(xlabel="change on remaining rows (points)", ylabel="gain over the best control (points)")
        draw_points(figure, ax, points)
    return Picture(
        figure, f"Scatter of gain over the best control and change on remaining, in points. {'; '.join(alt_texts)}."
    )
