"""The gate: how often it accepts repairs of models trained on clean data, and on data with planted noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.cases import run_cases, stored, upto
from repair_pipeline.studies.study import Stage

_DATA = ("clean", "planted")


@dataclass(frozen=True)
class GateStudy:
    """The study ``gate``: the digits as they are, and with planted label noise, judged at the gate's defaults."""

    seeds: Iterable[int] = range(20)
    name: str = "gate"

    def cases(self) -> list[CaseSpec]:
        return [self._spec(data, seed) for seed in self.seeds for data in _DATA]

    def _spec(self, data: str, seed: int) -> CaseSpec:
        fields = {
            "name": f"gate-{data}-s{seed}",
            "influence": {"ewc": {}, "random": {}},
            "causes": {"positive": True},
            "treat": ["ewc"],
            "treatments": {"finetune": {}, "base": {}},
            "gate": {},
        }
        clean = {"corruption": None} if data == "clean" else {}
        return parse_spec(preset(f"digits-label_noise-s{seed}").resolved | fields | clean)

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        cases = [Case(spec, layout, data_dir, torch.device("cpu")) for spec in self.cases()]
        return [Stage([run_cases(case.id, [case], upto("evaluation")) for case in cases])]

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        cases = [(data, seed, case_id(self._spec(data, seed))) for data in _DATA for seed in self.seeds]
        known = pd.DataFrame(cases, columns=["data", "seed", "case_id"])
        rows = stored(layout, "verdicts", known)
        counts = rows.groupby(["data", "verdict"]).size().rename("cases").reset_index()
        columns = ["data", "seed", "verdict", "removed", "fixed", "broken", "over_control", "over_control_low"]
        return {"verdicts": counts, "every case": rows[[*columns, "gain", "gain_low", "remaining_low"]]}
