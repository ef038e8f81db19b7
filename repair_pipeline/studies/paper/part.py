"""A part of the study: one or more of the paper's figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.study import Piece


class Part:
    """What it runs, and what it shows of it. ``--only`` names it."""

    name: str
    corruptions: Sequence[str] = ()
    """Those whose every method is run and timed before the part."""
    references: Sequence[str] = ()
    """Those of which it shows what needs no method: the controls, and what is without the planted rows."""

    def cases(self, scope: Scope, seed: int) -> list[CaseSpec]:
        """Further cases that it needs."""
        return []

    def cells(self, scope: Scope, seed: int) -> list[Piece]:
        """What it runs that is no case: it may need the timed influence, and no other case."""
        return []

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        """What it found so far, by title."""
        raise NotImplementedError

    def figures(self, scope: Scope) -> Mapping[str, Picture]:
        """The same drawn, by file name."""
        return {}
