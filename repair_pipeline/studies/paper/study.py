"""The study ``paper``, which consists of parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from repair_pipeline.cases.families import STUDY_SEEDS
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.step import Step
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.cases import SHARED, run_cases, upto
from repair_pipeline.studies.paper.claims import Claims
from repair_pipeline.studies.paper.detection import Detection
from repair_pipeline.studies.paper.discovery import Discovery
from repair_pipeline.studies.paper.inputs import Imbalance, InputCorruptions, Sensitivity
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.query_size import QuerySize
from repair_pipeline.studies.paper.removal import Removal
from repair_pipeline.studies.paper.run_time import RunTime
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.paper.specificity import Specificity
from repair_pipeline.studies.paper.treatments import Treatments
from repair_pipeline.studies.study import Piece, Stage

PARTS: tuple[Part, ...] = (
    Detection(),
    Removal(),
    Treatments(),
    InputCorruptions(),
    Specificity(),
    Discovery(),
    Imbalance(),
    QuerySize(),
    Sensitivity(),
    RunTime(),
    Claims(),
)
_LAST_METHOD = f"influence_{list(METHODS)[-1]}"


@dataclass(frozen=True)
class Paper:
    """The paper's figures, tables and claims on one data set."""

    name: str
    dataset: str
    seeds: Sequence[int] = STUDY_SEEDS
    parts: tuple[Part, ...] = PARTS

    def only(self, names: Sequence[str]) -> Paper:
        """The study with only the named parts.

        Raises:
            InputError: there is no such part.
        """
        known = {part.name: part for part in self.parts}
        for name in names:
            if name not in known:
                raise InputError(f"the study {self.name!r} has no part {name!r}: choose among {', '.join(known)}")
        return replace(self, parts=tuple(known[name] for name in dict.fromkeys(names)))

    def scope(self, layout: Layout, data_dir: Path = Path()) -> Scope:
        return Scope(self.name, self.dataset, self.seeds, layout, data_dir)

    def cases(self) -> list[CaseSpec]:
        scope = self.scope(Layout(Path()))
        return [*self._scored(scope), *self._others(scope)]

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        """The bases; then the timed methods, one at a time; then everything that uses their results."""
        scope = self.scope(layout, data_dir)
        scored = [scope.case(spec) for spec in self._scored(scope)]
        others = [scope.case(spec) for spec in self._others(scope)]
        bases = list({case.spec.base_id: case for case in (*scored, *others)}.values())
        return [
            Stage([_steps("base of", case, SHARED) for case in bases]),
            Stage([_steps("influence in", case, _not_shared(_LAST_METHOD)) for case in scored], alone=True),
            Stage(
                [
                    *(_steps("repairs in", case, upto("evaluation", _LAST_METHOD)) for case in scored),
                    *(_steps("all of", case, _not_shared("evaluation")) for case in others),
                    *(cell for part in self.parts for seed in self.seeds for cell in part.cells(scope, seed)),
                ]
            ),
        ]

    def _scored(self, scope: Scope) -> list[CaseSpec]:
        corruptions = dict.fromkeys(corruption for part in self.parts for corruption in part.corruptions)
        return [scope.scored(corruption, seed) for corruption in corruptions for seed in self.seeds]

    def _others(self, scope: Scope) -> list[CaseSpec]:
        corruptions = dict.fromkeys(corruption for part in self.parts for corruption in part.references)
        references = [scope.references(corruption, seed) for corruption in corruptions for seed in self.seeds]
        return [*references, *(spec for part in self.parts for seed in self.seeds for spec in part.cases(scope, seed))]

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        scope = self.scope(layout)
        return {title: table for part in self.parts for title, table in part.tables(scope).items()}

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        scope = self.scope(layout)
        return {name: picture for part in self.parts for name, picture in part.figures(scope).items()}


def _not_shared(last: str) -> Sequence[Step]:
    """The steps up to ``last`` whose results cases do not share."""
    return [step for step in upto(last) if step not in SHARED]


def _steps(what: str, case: Case, steps: Sequence[Step]) -> Piece:
    return run_cases(f"{what} {case.id}", [case], steps)
