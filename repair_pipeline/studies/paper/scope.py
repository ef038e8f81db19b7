"""What all parts of the study share: data set, seeds, methods, and the paths of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.sources import KnownData
from repair_pipeline.cases.spec import CaseSpec, at_defaults, parse_spec
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.reporting.evidence import Evidence, read_evidence
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.cases import stored

PAPERS = ("linear_sa", "linear_gd", "sgd", "ewc_paper")
"""The methods that the paper compares, as it describes them."""
METHODS = (*PAPERS, "ewc")
"""The same, and EWC-influence with this project's defaults: the guard and the fixed budget."""
TREATED = (*METHODS, "random")

CORRUPTIONS = ("label_noise", "input_noise", "poison")
"""The corruptions of Sec. 4.1."""


@dataclass(frozen=True)
class Scope:
    """One run of the study."""

    study: str
    dataset: str
    """The presets are ``DATASET-CORRUPTION-sSEED``."""
    seeds: Sequence[int]
    layout: Layout
    data_dir: Path

    def spec(self, family: str, seed: int, **fields: Any) -> CaseSpec:
        """A preset with some fields replaced; ``family`` names its corruption."""
        return parse_spec(preset(f"{self.dataset}-{family}-s{seed}").resolved | fields)

    def scored(self, corruption: str, seed: int) -> CaseSpec:
        """The case in which every method of the paper is run and timed."""
        return self.spec(
            corruption,
            seed,
            influence=at_defaults((*METHODS, "loss", "random", "oracle")),
            treat=TREATED if corruption != "label_noise" else (),
            treatments={"finetune": {}} if corruption != "label_noise" else {},
        )

    def references(self, corruption: str, seed: int) -> CaseSpec:
        """The case of the references that need no method: controls, and models without the planted rows."""
        names = ("base", "finetune", "reseed", "semi_oracle", "retrain")
        return self.spec(corruption, seed, influence={}, treat=(), treatments=at_defaults(names))

    def over_seeds(self, make: Callable[[str, int], CaseSpec], corruption: str) -> list[CaseSpec]:
        """The case that ``make`` (``scored`` or ``references``) gives for each seed."""
        return [make(corruption, seed) for seed in self.seeds]

    def case(self, spec: CaseSpec) -> GroupView:
        """The case of a spec, on the CPU, because studies run in several processes."""
        return Case(spec, self.layout, self.data_dir, torch.device("cpu")).first_view

    def stored(self, table: str, specs: Iterable[CaseSpec]) -> pd.DataFrame:
        """The rows of a view for these cases, with columns for seed, corruption and query fraction."""
        cases = [
            {
                "case_id": case_id(spec),
                "seed": spec.seed,
                "corruption": spec.corruption.kind if spec.corruption else None,
                "query_fraction": spec.query_fraction,
            }
            for spec in specs
        ]
        columns = ["case_id", "seed", "corruption", "query_fraction"]
        return stored(self.layout, table, pd.DataFrame(cases, columns=columns))

    def targets(self, corruption: str) -> str:
        """The classes whose rows are corrupted, as an SQL list."""
        spec = self.spec(corruption, self.seeds[0])
        return ", ".join(map(str, spec.corruption.targeted if spec.corruption else ()))

    def measured(self, part: str) -> pd.DataFrame:
        """The rows of a part's own measurements so far."""
        files = sorted(self.cell(part, "any").parent.glob("*.json"))
        return pd.concat([pd.read_json(path) for path in files], ignore_index=True) if files else pd.DataFrame()

    def evidence(self, spec: CaseSpec) -> Evidence | None:
        """The data for figures of a case; None if it has not been evaluated."""
        case = self.case(spec)
        if not self.layout.table("recovery", case.id).exists():
            return None
        return read_evidence(self.layout, case.id, case.data, case.partition)

    def cell(self, part: str, name: str) -> Path:
        """The path of a measurement that is not a case."""
        return self.layout.study(self.study) / "cells" / part / f"{name}.json"

    @cached_property
    def rows(self) -> int:
        """N, approximately: the training rows that are not validation."""
        spec = self.spec("label_noise", 0)
        assert isinstance(spec.dataset, KnownData)
        return round(spec.dataset.train_size * (1 - spec.validation_fraction))
