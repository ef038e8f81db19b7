"""Judging a claim of the paper by the 95% interval over seeds of a number that should be above a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from repair_pipeline.studies.paper.scope import PAPERS, Scope
from repair_pipeline.studies.tables import Interval

Verdict = Literal["reproduced", "different", "not reproduced"]
BASELINES = tuple(name for name in PAPERS if not name.startswith("ewc"))
"""The baselines of the paper."""
EWC = ("ewc_paper", "ewc")
"""EWC-influence as the paper describes it, and with this project's defaults."""


class NotMeasuredError(Exception):
    """A part that the claim needs has not been run."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the figures that support it."""

    verdict: Verdict
    figures: str


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and how it is judged."""

    where: str
    says: str
    judge: Callable[[Scope], Judgement]


def above_zero(what: str, value: pd.Series) -> Judgement:
    """Judge that ``value``, given by seed, is above zero."""
    interval = interval_of(value)
    verdict: Verdict = "reproduced" if interval.low > 0 else "not reproduced"
    return Judgement(verdict, f"{what}: {interval}{left_open(verdict, interval.high > 0)}")


def of_ewc(what: str, value: Callable[[str], pd.Series], above: float = 0.0) -> Judgement:
    """Judge that ``value`` is above a bound for EWC-influence, as described or with our defaults."""
    return first_or_second({f"`{method}`": value(method) for method in EWC}, what, above)


def first_or_second(values: Mapping[str, pd.Series], what: str, above: float = 0.0) -> Judgement:
    """Judge that the first of two values, the paper's version, is above a bound, or at least the second, ours."""
    intervals = {name: interval_of(value) for name, value in values.items()}
    papers, ours = intervals.values()
    verdict: Verdict = "reproduced" if papers.low > above else "different" if ours.low > above else "not reproduced"
    return _judgement(verdict, what, intervals, above)


def _bound(above: float) -> str:
    return f", asked to be above {above:g}" if above else ""


def of_each(what: str, values: Mapping[str, pd.Series], most: bool = False, above: float = 0.0) -> Judgement:
    """Judge that all of ``values``, or with ``most`` most of them, are above a bound."""
    intervals = {name: interval_of(value) for name, value in values.items()}
    hold = sum(interval.low > above for interval in intervals.values())
    enough = hold > len(intervals) / 2 if most else hold == len(intervals)
    verdict: Verdict = "reproduced" if enough else "different" if hold else "not reproduced"
    return _judgement(verdict, what, {f"`{name}`": interval for name, interval in intervals.items()}, above)


def _judgement(verdict: Verdict, what: str, intervals: Mapping[str, Interval], above: float) -> Judgement:
    listed = ", ".join(f"{name} {interval}" for name, interval in intervals.items())
    unsettled = left_open(verdict, any(interval.high > above for interval in intervals.values()))
    return Judgement(verdict, f"{what}{_bound(above)}: {listed}{unsettled}")


def left_open(verdict: Verdict, could_hold: bool) -> str:
    """The remark on a claim that is not reproduced but could hold."""
    return "; so few seeds leave it open" if verdict == "not reproduced" and could_hold else ""


def interval_of(value: pd.Series) -> Interval:
    """The mean over seeds and its 95% interval.

    Raises:
        NotMeasuredError: there is no value.
    """
    if value.dropna().empty:
        raise NotMeasuredError
    return Interval.of(value)


def by_seed(rows: pd.DataFrame, column: str, **where: object) -> pd.Series:
    """A column by seed, for the rows that match ``where``; the mean if there are several per seed."""
    for key, wanted in where.items():
        rows = rows[rows[key] == wanted]
    return rows.groupby("seed")[column].mean()


def best_baseline(rows: pd.DataFrame, column: str, **where: object) -> pd.Series:
    """The best value among the paper's baselines, for each seed."""
    values = [by_seed(rows, column, method=method, **where) for method in BASELINES if (rows["method"] == method).any()]
    if not values:
        raise NotMeasuredError
    return pd.concat(values, axis=1).max(axis=1)


def share_of_first(scope: Scope, corruption: str, order: str, condition: str) -> Callable[[str], pd.Series]:
    """The share of the first 16 rows, by rank in ``order`` (ASC or DESC), that meet an SQL ``condition``."""
    rows = scope.stored(
        f"(SELECT case_id, method, avg(CAST({condition} AS DOUBLE)) AS share FROM (SELECT *, row_number() OVER "
        f"(PARTITION BY case_id, method ORDER BY rank {order}) AS place FROM influence "
        "JOIN examples USING (case_id, example_id)) WHERE place <= 16 GROUP BY case_id, method)",
        scope.over_seeds(scope.scored, corruption),
    )
    return lambda method: by_seed(rows, "share", method=method)
