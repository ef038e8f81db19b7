"""Fig. 2 and 7: detection of the planted rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from repair_pipeline.reporting import charts as case_charts
from repair_pipeline.reporting import gallery
from repair_pipeline.reporting.picture import Picture, look
from repair_pipeline.studies.paper.charts import curves
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import METHODS, Scope
from repair_pipeline.studies.tables import mean_sd

_SHOWN = (*METHODS, "loss", "oracle", "random")
_INSPECTED = np.arange(5, 101, 5) / 100


class Detection(Part):
    """Fig. 2 and 7."""

    name = "fig2"
    corruptions = ("label_noise",)

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = scope.stored("detection", scope.over_seeds(scope.scored, "label_noise"))
        return {"Fig. 2c detection": mean_sd(rows, ["method"], ["auc", "average_precision", "precision_at_n"])}

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        """Fig. 2a, 2b, 2d and 7 for the first seed, as in the paper, which shows a single run; 2c over all seeds."""
        drawn = {}
        evidence = scope.evidence(scope.scored("label_noise", scope.seeds[0]))
        if evidence is not None:
            most, least = gallery.most_and_least_harmful(evidence)
            with look():
                drawn = {
                    "fig2a": case_charts.label_noise(evidence),
                    "fig2b": case_charts.failure_classes(evidence),
                    "fig2d": gallery.training_rows(evidence, most, f"The {len(most)} most harmful rows"),
                    "fig7": gallery.training_rows(evidence, least, f"The {len(least)} least harmful rows"),
                }
        curve = scope.stored("detection_curve", scope.over_seeds(scope.scored, "label_noise"))
        curve = curve[curve["method"].isin(_SHOWN) & (curve["inspected"] > 0)].copy()
        if len(curve):
            curve["precision"] = curve["found"] / curve["inspected"]
            curve["share"] = (curve["inspected"] / curve.groupby("case_id")["inspected"].transform("max")).round(2)
            curve = curve.drop_duplicates(["case_id", "method", "share"])
            panels = {"found": "planted rows found", "precision": "share of planted among them"}
            xlabel = "share of the rows inspected, most harmful first"
            drawn["fig2c"] = curves(curve[curve["share"].isin(_INSPECTED)], "share", xlabel, panels)
        return drawn
