"""The claims of the paper's text, and whether each of them holds here.

A claim about EWC-influence is judged for two versions of the method: as the paper describes it (``ewc_paper``) and
with this project's defaults (``ewc``). The verdict is "reproduced" if the claim holds as described, "different" if it
holds only with our defaults or only in part, and "not reproduced" otherwise. A claim holds if the 95% interval over
seeds lies on the claimed side. If the interval only reaches that side, the claim is not reproduced and left open.
"""

from __future__ import annotations

import pandas as pd

from repair_pipeline.studies.paper.claims_inputs import INPUTS
from repair_pipeline.studies.paper.claims_labels import LABELS
from repair_pipeline.studies.paper.claims_treatments import TREATMENTS
from repair_pipeline.studies.paper.judging import Claim, NotMeasuredError
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.scope import Scope

CLAIMS: tuple[Claim, ...] = (*LABELS, *INPUTS, *TREATMENTS)


class Claims(Part):
    """Every claim, judged on the results of the other parts."""

    name = "claims"

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = []
        for claim in CLAIMS:
            try:
                judged = claim.judge(scope)
            except NotMeasuredError:
                continue
            rows.append({"where": claim.where, "claim": claim.says, "verdict": judged.verdict, "here": judged.figures})
        return {"Claims": pd.DataFrame(rows, columns=["where", "claim", "verdict", "here"])}
