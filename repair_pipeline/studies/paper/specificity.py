"""App. A.1, argued there but not measured: how repairing one kind of failure affects the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pandas as pd
import torch

from repair_pipeline.cases.corruption import LabelNoiseSpec
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies import costs
from repair_pipeline.studies.paper.cells import Row, piece, treated
from repair_pipeline.studies.paper.charts import matrix
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.study import Piece
from repair_pipeline.studies.tables import gain, mean_sd
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Examples, silent

_SHARE = 0.06
"""Share of D removed for one group: a third of the rows planted in all three."""
_PREFIX = "holdout "
_METHODS = ("ewc", "random")


class Specificity(Part):
    """A groups × groups matrix: causes of one group's failures removed, accuracy on every group's holdout."""

    name = "specificity"
    corruptions = ("label_noise",)

    def cells(self, scope: Scope, seed: int) -> list[Piece]:
        case = scope.case(scope.scored("label_noise", seed))
        seconds = len(_groups(case)) * (costs.METHODS["ewc"] + 2 * costs.TREATMENTS["finetune"])
        return [piece(case, scope.cell(self.name, f"s{seed}"), seconds, _repaired)]

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = scope.measured(self.name)
        if rows.empty:
            return {}
        columns = _columns(rows)
        table = mean_sd(rows, ["repaired", "method"], [*columns, "remaining_accuracy"])
        for column in columns:
            control = rows[rows["method"] == "random"]
            gained = gain(rows, control, ["seed", "repaired"], ["repaired", "method"], column)
            table = table.merge(gained.rename(columns={"gain": f"{column}, gain over random [95%]"}))
        return {"Specificity": table}

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        rows = scope.measured(self.name)
        if rows.empty:
            return {}
        means = rows.pivot_table(index="repaired", columns="method", values=_columns(rows), sort=False)
        gains = {
            column.removeprefix(_PREFIX): means[column]["ewc"] - means[column]["random"] for column in _columns(rows)
        }
        return {"specificity": matrix(pd.DataFrame(gains), "failures of", "holdout gain, repaired for")}


def _columns(rows: pd.DataFrame) -> list[str]:
    return [str(column) for column in rows if str(column).startswith(_PREFIX)]


def _groups(case: Case) -> dict[str, tuple[int, ...]]:
    """The classes that are mistaken for each other, by group name."""
    assert isinstance(case.spec.corruption, LabelNoiseSpec)
    pairs = {tuple(sorted({clean, *shares})) for clean, shares in case.spec.corruption.confusion.items()}
    return {"↔".join(map(str, pair)): pair for pair in sorted(pairs)}


def _in_classes(examples: Examples, classes: tuple[int, ...]) -> Examples:
    return examples[torch.isin(examples.labels, torch.tensor(classes))]


def _repaired(view: GroupView) -> Iterator[Row]:
    groups, rows = _groups(view), round(_SHARE * len(view.data.fit.examples))
    for group, classes in groups.items():
        for method in _METHODS:
            task = view.task(f"specificity/{group}", silent)
            task = replace(task, tests=replace(task.tests, query=_in_classes(task.tests.query, classes)))
            causes = METHODS[method]().scores(task).top(rows)
            model, row = treated(view, "finetune", Finetune(), causes)
            accuracies = {
                name: accuracy(model, _in_classes(view.partition.holdout, members)) for name, members in groups.items()
            }
            yield {
                "repaired": group,
                "method": method,
                **row,
                **{f"{_PREFIX}{name}": accuracies[name] for name in groups},
            }
