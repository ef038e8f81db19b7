"""A stress test from corrective unlearning, not in the paper: only some of the planted rows are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies import costs
from repair_pipeline.studies.paper.cells import Row, piece, treated
from repair_pipeline.studies.paper.charts import curves
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.study import Piece
from repair_pipeline.studies.tables import mean_sd
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes

_RATES = (0.1, 0.25, 0.5, 0.75, 1.0)
_PANELS = {"holdout_accuracy": "holdout accuracy", "remaining_accuracy": "remaining accuracy"}
_TREATMENTS = ("finetune", "ewc_deletion")


class Discovery(Part):
    """C is a random subset of the planted rows, from 10% to all of them."""

    name = "discovery"
    corruptions = ("label_noise",)

    def cells(self, scope: Scope, seed: int) -> list[Piece]:
        case = scope.case(scope.scored("label_noise", seed))
        seconds = len(_RATES) * sum(costs.TREATMENTS[name] for name in _TREATMENTS)
        return [piece(case, scope.cell(self.name, f"s{seed}"), seconds, _treat_known_rows)]

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = scope.measured(self.name)
        return {"Discovery": mean_sd(rows, ["treatment", "rate"], list(_PANELS))} if len(rows) else {}

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        rows = scope.measured(self.name).rename(columns={"treatment": "method"})
        xlabel = "share of the planted rows that is known"
        return {"discovery": curves(rows, "rate", xlabel, _PANELS)} if len(rows) else {}


def _treat_known_rows(case: Case) -> Iterator[Row]:
    planted = numpy_stream(case.spec.seed, "discovery").permutation(sorted(case.data.fit.corrupted_ids))
    for rate in _RATES:
        causes = Causes(tuple(planted[: round(rate * len(planted))].tolist()))
        for name in _TREATMENTS:
            treatment = TREATMENTS[name].treatment()
            _, row = treated(case, name, treatment, causes)  # type: ignore[arg-type]
            yield {"rate": rate, **row}
