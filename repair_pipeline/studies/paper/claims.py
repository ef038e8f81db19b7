"""What the paper's text claims, one by one, and whether it holds here.

A claim about EWC-influence is judged twice: as the paper describes the method (``ewc_paper``) and as we run it
(``ewc``). It is reproduced where it holds as described, different where it holds only as we run it or only in part, and
else not reproduced. To hold, the 95% interval over seeds must lie on the claimed side; where it only reaches that side,
the claim is not reproduced and left open.
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
    """Every claim beside what all other parts found."""

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
