"""Fig. 5 and 9: treatments, from deleting the causes to learning the failures."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies.paper.charts import trade_off
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.tables import mean_sd

_SHARE = 0.15
"""Of D, removed by every treatment (Sec. 4.2)."""
_GAMMAS = (0.01, 0.05)
"""The ends of App. C's range."""
_STRENGTHS = (10.0, 100.0, 1000.0, 10000.0)
"""λ of B.4's locality constraint; ours."""
_PAPERS = {"objective": "likelihood", "guard_rho": 0.0, "stopping": "paper"}
"""EWC-deletion as the paper describes it."""
_ACCURACIES = ["holdout_accuracy", "query_accuracy", "remaining_accuracy"]


class Treatments(Part):
    """Fig. 5 (γ under both readings) and Fig. 9 (λ), of the same causes."""

    name = "fig5"

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        gammas = [{}, *({"gamma": gamma} for gamma in self._gammas(scope))]
        treatments = {
            "base": {},
            "finetune": {},
            "newton": gammas,
            "ewc_deletion": [*({**_PAPERS, **gamma} for gamma in gammas), *gammas],
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
        """γ as the code has it, and as the paper's text does.

        App. C does not say whether log p(C|θ) is a sum or a mean; a mean is |C| times less, and its γ as much smaller.
        """
        causes = round(_SHARE * scope.rows)
        sums = {gamma: f"γ={gamma:g}" for gamma in _GAMMAS}
        return sums | {gamma / causes: f"γ={gamma:g} (mean)" for gamma in _GAMMAS}

    def rows(self, scope: Scope) -> pd.DataFrame:
        """The recovery table, with a ``name`` for each treatment and what of it was varied as ``setting``."""
        rows = scope.stored("recovery", (spec for seed in scope.seeds for spec in self.cases(scope, seed)))
        settings = rows["setting"].map(json.loads)
        papers = settings.map(lambda setting: "objective" in setting)
        rows["name"] = rows["treatment"].where(~papers, "ewc_deletion, paper's")
        rows["name"] = rows["name"].where(~(rows["name"] == "combined"), _combined(rows))
        rows["name"] = rows["name"].where(
            ~((rows["treatment"] == "finetune") & rows["influence_method"].isna()), "finetune, nothing removed"
        )
        shown = self._gammas(scope)
        rows["setting"] = [self._shown(setting, shown) for setting in settings]
        return rows

    def _shown(self, setting: Mapping[str, float], gammas: Mapping[float, str]) -> str:
        if "strength" in setting:
            return f"λ={setting['strength']:g}"
        return gammas.get(setting.get("gamma", 0.0), "")

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
        deleting = rows["treatment"].isin(["newton", "ewc_deletion", "finetune"])
        learning = rows["treatment"].isin(["l2_query", "learn_query", "combined", "finetune"])
        learning |= rows["treatment"].eq("ewc_deletion")
        return {"fig5": trade_off(rows[deleting], "setting"), "fig9": trade_off(rows[learning], "setting")}


def _combined(rows: pd.DataFrame) -> pd.Series:
    return rows["influence_method"].map(lambda method: "combined" if method == "ewc" else "combined, planted removed")
