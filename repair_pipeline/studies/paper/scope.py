"""What all parts of the study share: its data set and seeds, its methods, and where its files lie."""

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
"""And ours: EWC-influence with the guard and the fixed budget."""
TREATED = (*METHODS, "random")

CORRUPTIONS = ("label_noise", "input_noise", "poison")
"""Those of Sec. 4.1."""


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
        """A preset with some fields replaced; a family is what the data set is corrupted by."""
        return parse_spec(preset(f"{self.dataset}-{family}-s{seed}").resolved | fields)

    def scored(self, corruption: str, seed: int) -> CaseSpec:
        """The case in which every method of the paper's is run and timed."""
        return self.spec(
            corruption,
            seed,
            influence=at_defaults((*METHODS, "loss", "random", "oracle")),
            treat=TREATED if corruption != "label_noise" else (),
            treatments={"finetune": {}} if corruption != "label_noise" else {},
        )

    def references(self, corruption: str, seed: int) -> CaseSpec:
        """The case of all that needs no method: the controls, and what is without the planted rows."""
        names = ("base", "finetune", "reseed", "semi_oracle", "retrain")
        return self.spec(corruption, seed, influence={}, treat=(), treatments=at_defaults(names))

    def over_seeds(self, of: Callable[[str, int], CaseSpec], corruption: str) -> list[CaseSpec]:
        """``scored`` or ``references`` of every seed."""
        return [of(corruption, seed) for seed in self.seeds]

    def case(self, spec: CaseSpec) -> GroupView:
        """The case of a spec, on the CPU: studies share it out by processes."""
        return Case(spec, self.layout, self.data_dir, torch.device("cpu")).first_view

    def stored(self, table: str, specs: Iterable[CaseSpec]) -> pd.DataFrame:
        """The rows of a view for these cases, beside seed, corruption and query fraction."""
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
        """The classes that rows are corrupted of, as a list in SQL."""
        spec = self.spec(corruption, self.seeds[0])
        return ", ".join(map(str, spec.corruption.targeted if spec.corruption else ()))

    def found(self, part: str) -> pd.DataFrame:
        """The rows of all of a part's own files that are there."""
        files = sorted(self.cell(part, "any").parent.glob("*.json"))
        return pd.concat([pd.read_json(path) for path in files], ignore_index=True) if files else pd.DataFrame()

    def evidence(self, spec: CaseSpec) -> Evidence | None:
        """What pictures of a case are drawn from; None where it has not been evaluated."""
        case = self.case(spec)
        if not self.layout.table("recovery", case.id).exists():
            return None
        return read_evidence(self.layout, case.id, case.data, case.partition)

    def cell(self, part: str, name: str) -> Path:
        """A file that is the study's own."""
        return self.layout.study(self.study) / "cells" / part / f"{name}.json"

    @cached_property
    def rows(self) -> int:
        """N, about: the training rows that are not validation."""
        spec = self.spec("label_noise", 0)
        assert isinstance(spec.dataset, KnownData)
        return round(spec.dataset.train_size * (1 - spec.validation_fraction))
