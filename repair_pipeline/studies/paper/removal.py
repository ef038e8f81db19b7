"""Fig. 3: accuracy after fine-tuning, as more of each method's causes are removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import pandas as pd

from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.records import load_scores
from repair_pipeline.studies import costs
from repair_pipeline.studies.paper.cells import Row, piece, treated
from repair_pipeline.studies.paper.charts import curves
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import TREATED, Scope
from repair_pipeline.studies.study import Piece
from repair_pipeline.studies.tables import mean_sd
from repair_pipeline.treatment.training import Finetune

_SHARES = (0.04, 0.1, 0.2, 0.4, 0.6)
"""Shares of D. The paper's axis ends at about 10³ of 2,700 rows, beyond the number of planted rows."""
PANELS = {
    "holdout_accuracy": "holdout accuracy",
    "query_accuracy": "query accuracy",
    "remaining_accuracy": "remaining accuracy",
}
_CONTROLS = {"finetune": "nothing removed", "reseed": "another seed", "semi_oracle": "semi-oracle"}


class Removal(Part):
    """Fig. 3."""

    name = "fig3"
    corruptions = references = ("label_noise",)

    def cells(self, scope: Scope, seed: int) -> list[Piece]:
        case = scope.case(scope.scored("label_noise", seed))
        seconds = len(_SHARES) * costs.TREATMENTS["finetune"]
        return [
            piece(case, scope.cell(self.name, f"{method}-s{seed}"), seconds, partial(_removed, method))
            for method in TREATED
        ]

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = scope.measured(self.name).round({"share": 2})  # JSON gives 0.6 back as 0.6000000000000001
        tables = {"Fig. 3 controls": mean_sd(controls(scope), ["name"], list(PANELS))}
        if len(rows):
            tables["Fig. 3 removal"] = mean_sd(rows, ["method", "share"], list(PANELS))
        return tables

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        rows, xlabel = scope.measured(self.name), "share of the rows removed, most harmful first"
        return {"fig3": curves(rows, "share", xlabel, PANELS, controls(scope))} if len(rows) else {}


def controls(scope: Scope) -> pd.DataFrame:
    """Accuracies of the controls, which need no method; one row per control and seed."""
    rows = scope.stored("recovery", scope.over_seeds(scope.references, "label_noise"))
    return rows.assign(name=rows["treatment"].map(_CONTROLS)).dropna(subset=["name"])


def _removed(method: str, view: GroupView) -> Iterator[Row]:
    scores = load_scores(view.influence_path(method), view.data.fit.examples)
    for share in _SHARES:
        _, row = treated(view, "finetune", Finetune(), scores.top(round(share * len(scores.ids))))
        yield {"method": method, "share": share, **row}
