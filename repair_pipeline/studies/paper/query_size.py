"""Fig. 6: how few failures suffice."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec, at_defaults
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies.paper.charts import curves
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.removal import controls
from repair_pipeline.studies.paper.scope import METHODS, Scope
from repair_pipeline.studies.tables import mean_sd

_FRACTIONS = (0.05, 0.2, 1.0)
_COMPARED = tuple(method for method in METHODS if method != "linear_sa")
"""Without ``linear_sa``, which solves the same system as ``linear_gd``."""
_DETECTED = {"precision": "precision of the causes", "recall": "recall of the causes"}
_REPAIRED = {"holdout_accuracy": "holdout accuracy", "remaining_accuracy": "remaining accuracy"}


class QuerySize(Part):
    """Fig. 6: all rows with r̃ > 0 are removed."""

    name = "fig6"
    references = ("label_noise",)

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        influence = at_defaults(_COMPARED)
        return [
            scope.spec(
                "label_noise",
                seed,
                query_fraction=fraction,
                causes={"positive": True},
                influence=influence,
                treat=_COMPARED,
                treatments={"finetune": {}},
            )
            for fraction in _FRACTIONS
        ]

    def rows(self, scope: Scope) -> pd.DataFrame:
        """Precision, recall and accuracies after fine-tuning; one row per method, fraction and seed."""
        specs = [spec for seed in scope.seeds for spec in self.cases(scope, seed)]
        repaired = scope.stored("recovery", specs).dropna(subset=["influence_method"])
        repaired = repaired.rename(columns={"influence_method": "method"})
        keys = ["case_id", "seed", "query_fraction", "method"]
        return scope.stored("detection", specs)[[*keys, *_DETECTED, "n_causes"]].merge(
            repaired[[*keys, *_REPAIRED]], on=keys
        )

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = self.rows(scope)
        return {"Fig. 6": mean_sd(rows, ["query_fraction", "method"], [*_DETECTED, *_REPAIRED])}

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        rows, panels = self.rows(scope), {**_DETECTED, **_REPAIRED}
        if rows.empty:
            return {}
        level = controls(scope).reindex(columns=["name", "seed", *panels])
        return {"fig6": curves(rows, "query_fraction", "share of the query failures", panels, level)}
