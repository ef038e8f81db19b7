"""The rows of a case for a person to review."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.patch import harm_and_suggestions
from repair_pipeline.reporting.review.sheet import COLUMNS, Sheet
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import OWN, load_scores
from repair_pipeline.types import Examples, LabelForm

OPPOSED = 5
"""Failures that are shown beside a row."""
_LABELS = {
    LabelForm.NUMBER: "numbers",
    LabelForm.SET: "sets of them",
    LabelForm.COMPLETION: "texts",
    LabelForm.TAGS: "one for each token",
}
"""What labels are that are no classes."""
_QUERY_SIDE = ("query", "query_tuning", "guard")


def review_sheet(case: Case) -> Sheet:
    """The rows of D, the most harmful first, with what the patch suggests and the failures that they oppose.

    Nothing of the holdout or of the remaining rows is shown: who saw them would decide by them.

    Raises:
        InputError: the case has no scores yet.
    """
    if case.spec.task.form is not LabelForm.CLASS:
        raise InputError(
            f"repair review needs classes, but the labels of {case.id} are {_LABELS[case.spec.task.form]}: edit "
            "patch.csv, or give repair apply --decisions FILE"
        )
    path = case.first_view.influence_path(case.spec.treat[0]) if case.spec.treat else None
    if not case.dataset_path.exists() or path is None or not path.exists():
        raise InputError(f"case {case.id} has no scored rows to review; to make them: repair run {case.id}")
    views, row_by_id = case.views, dict[str, dict[str, Any]]()
    for view in views:
        for row in _scored(view):
            known = row_by_id.get(row["example_id"])
            if known is None or row["rank"] < known["rank"]:
                row_by_id[row["example_id"]] = row
    for line in _table(case, "patch"):  # of a row that several groups suggest to change, the last suggestion counts
        row_by_id[line["example_id"]] |= {
            name: line[name] for name in ("failure_group", "action", "rank", "influence", "probability", "reason")
        }
    failures = Examples.concat([view.partition.query for view in views])
    opposed = _opposed(case, failures)
    rows = sorted(row_by_id.values(), key=lambda row: (row["rank"], row["example_id"]))
    for row in rows:
        row["opposes"] = len(opposed.get(row["example_id"], ()))
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    if case.data.metadata is not None:
        at = {name: position for position, name in enumerate(case.data.metadata["example_id"].to_pylist())}
        own = case.data.metadata.take([at[row["example_id"]] for row in rows])
        for name in own.column_names[1:]:
            table = table.append_column(OWN + name, own[name])
    shown = {name: found[:OPPOSED] for name, found in opposed.items()}
    return Sheet(case.id, table, case.data, failures, shown, _repeated(case))


def _scored(view: GroupView) -> Iterator[dict[str, Any]]:
    """The rows of D as one failure group sees them."""
    fit, names = view.data.fit.examples, view.data.classes
    scores = load_scores(view.influence_path(view.spec.treat[0]), fit)
    harmful, suggested = harm_and_suggestions(view) if view.out_of_fold_path.exists() else (None, None)
    probability = harmful if scores.probability is None else scores.probability
    for rank, at in enumerate(scores.order.tolist(), start=1):
        yield {
            "example_id": str(fit.ids[at]),
            "row": at,
            "failure_group": view.group,
            "rank": rank,
            "influence": scores.values[at].item(),
            "probability": None if probability is None else probability[at].item(),
            "label": names[fit.labels[at]],
            "suggested_label": None if suggested is None else names[suggested.labels[at]],
            "suggestion_probability": None if suggested is None else suggested.probability[at].item(),
            "reason": "",
        }


def _table(case: Case, name: str) -> list[Mapping[str, Any]]:
    path = case.layout.table(name, case.id)
    return read_parquet(path)[0].to_pylist() if path.exists() else []


def _opposed(case: Case, failures: Examples) -> dict[str, list[tuple[int, float]]]:
    """By row, the failures that it opposes and its influence on them, most opposed first."""
    place = {name: at for at, name in enumerate(failures.ids.tolist())}
    found = dict[str, list[tuple[int, float]]]()
    for pair in sorted(_table(case, "pairs"), key=lambda pair: (-pair["influence"], pair["failure_id"])):
        if pair["influence"] > 0 and pair["failure_id"] in place:
            found.setdefault(pair["example_id"], []).append((place[pair["failure_id"]], pair["influence"]))
    return found


def _repeated(case: Case) -> dict[str, list[tuple[str, str]]]:
    found = dict[str, list[tuple[str, str]]]()
    for row in _table(case, "doubtful_tests"):
        if row["training_row"] is not None and row["split"] in _QUERY_SIDE:
            found.setdefault(row["training_row"], []).append((row["example_id"], row["label"]))
    return found
