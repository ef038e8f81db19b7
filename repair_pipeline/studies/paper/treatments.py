"""Fig. 5 and 9: treatments, from deleting the causes to learning the failures."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies.paper.charts import trade_off
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.tables import mean_sd
from repair_pipeline.treatment.learning import L2Query

_SHARE = 0.15
"""Share of D that every treatment removes (Sec. 4.2)."""
_GAMMAS = (0.01, 0.05)
"""The ends of App. C's range."""
_STRENGTHS = (10.0, 100.0, 1000.0, 10000.0)
"""λ of B.4's locality constraint; the paper does not give values."""
_DELETIONS = ("newton", "ewc_deletion_paper", "ewc_deletion")
_ACCURACIES = ["holdout_accuracy", "query_accuracy", "remaining_accuracy"]


class Treatments(Part):
    """Fig. 5 (γ under both readings) and Fig. 9 (λ), with the same causes."""

    name = "fig5"

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        gammas = [{}, *({"gamma": gamma} for gamma in self._gammas(scope))]
        treatments = {
            "base": {},
            "finetune": {},
            "newton": gammas,
            "ewc_deletion_paper": gammas,
            "ewc_deletion": gammas,
            "l2_query": [{"strength": strength} for strength in _STRENGTHS],
            "learn_query": {},
            "combined": {},
        }
        return [
            scope.spec(
                "label_noise",
                seed,
                influence={"ewc": {}},
                treat=("ewc",),
                treatments=treatments,
                causes={"fraction": _SHARE},
            )
        ]

    def _gammas(self, scope: Scope) -> dict[float, str]:
        """γ in the code's convention, with the paper's γ as label.

        App. C does not say whether log p(C|θ) is a sum or a mean. A mean is smaller by a factor |C|, and so is its γ.
        """
        causes = round(_SHARE * scope.rows)
        sums = {gamma: f"γ={gamma:g}" for gamma in _GAMMAS}
        return sums | {gamma / causes: f"γ={gamma:g} (mean)" for gamma in _GAMMAS}

    def rows(self, scope: Scope) -> pd.DataFrame:
        """The recovery table, with each treatment's ``name``, and its varied γ or λ as ``setting``."""
        rows = scope.stored("recovery", (spec for seed in scope.seeds for spec in self.cases(scope, seed)))
        settings = rows["setting"].map(json.loads)
        rows["name"] = rows["treatment"].where(rows["treatment"] != "combined", _combined(rows))
        rows["name"] = rows["name"].where(
            ~((rows["treatment"] == "finetune") & rows["influence_method"].isna()), "finetune, nothing removed"
        )
        shown, default = self._gammas(scope), L2Query().strength
        rows["varied"] = rows["gamma"].where(rows["treatment"].isin(_DELETIONS))
        strengths = settings.map(lambda setting: setting.get("strength", default))
        rows["varied"] = rows["varied"].where(rows["treatment"] != "l2_query", strengths)
        rows["setting"] = [
            f"λ={varied:g}" if name == "l2_query" else "" if np.isnan(varied) else shown.get(varied, "default γ")
            for name, varied in zip(rows["treatment"], rows["varied"], strict=True)
        ]
        return rows.sort_values("varied", kind="stable")

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = self.rows(scope)
        chosen = rows[rows["chosen"]]
        return {
            "Fig. 5 and 9 every setting": mean_sd(rows, ["name", "setting"], _ACCURACIES),
            "Fig. 5 and 9 chosen on query side": mean_sd(chosen, ["name"], _ACCURACIES),
        }

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        rows = self.rows(scope)
        rows = rows[rows["name"] != "base"]
        if rows.empty:
            return {}
        deleting = rows["treatment"].isin([*_DELETIONS, "finetune"])
        learning = rows["treatment"].isin(["ewc_deletion", "l2_query", "learn_query", "combined", "finetune"])
        return {"fig5": trade_off(rows[deleting], "γ"), "fig9": trade_off(rows[learning], "γ or λ")}


def _combined(rows: pd.DataFrame) -> pd.Series:
    return rows["influence_method"].map(lambda method: "combined" if method == "ewc" else "combined, planted removed")
