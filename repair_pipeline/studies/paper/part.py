"""A part of the study: one or more of the paper's figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.study import Piece


class Part:
    """The work and the results of a part. ``--only`` selects it by name."""

    name: str
    corruptions: Sequence[str] = ()
    """The corruptions for which every method is run and timed before the part."""
    references: Sequence[str] = ()
    """The corruptions for which it shows references without a method: controls, and models without the planted rows."""

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        """Additional cases that it needs."""
        return []

    def cells(self, scope: Scope, seed: int) -> list[Piece]:
        """Measurements that are not cases; they may use the timed influence, but no other case."""
        return []

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        """The results so far, by title."""
        raise NotImplementedError

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        """Charts of the results so far, by file name."""
        return {}
