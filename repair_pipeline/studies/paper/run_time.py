"""Table 1: what a method takes, run alone."""

from __future__ import annotations

import pandas as pd

from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import CORRUPTIONS, METHODS, Scope
from repair_pipeline.studies.tables import mean_sd

_SHARED = "fisher_diagonal"
"""F̂ and log p(z|θ̂): made once a base, for every method that reads them."""
_NEEDS_SHARED = ("ewc", "ewc_paper")


class RunTime(Part):
    """Table 1."""

    name = "table1"
    corruptions = CORRUPTIONS

    def rows(self, scope: Scope) -> pd.DataFrame:
        """Seconds of each method's own, and of what it shares, a row a corruption, method and seed."""
        specs = [spec for corruption in CORRUPTIONS for spec in scope.over_seeds(scope.scored, corruption)]
        timings = scope.stored("timings", specs)
        own = timings[(timings["step"] == "influence") & timings["method"].isin(METHODS)]
        shared = timings[timings["step"] == _SHARED][["case_id", "seconds"]]
        rows = own.merge(shared, on="case_id", suffixes=("", "_shared"))
        needs = rows["method"].isin(_NEEDS_SHARED)
        return rows.assign(
            own=rows["seconds"],
            shared=rows["seconds_shared"].where(needs, 0.0),
            total=rows["seconds"] + rows["seconds_shared"].where(needs, 0.0),
        )

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = self.rows(scope)
        return {"Table 1 seconds": mean_sd(rows, ["corruption", "method"], ["own", "shared", "total"], digits=1)}
