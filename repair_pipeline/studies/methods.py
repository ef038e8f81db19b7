"""Every method and every treatment on label noise: detection of the planted rows, and recovery without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from repair_pipeline.cases.families import STUDY_SEEDS
from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.sources import KnownData
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.cases import run_cases, stored, upto
from repair_pipeline.studies.study import Stage
from repair_pipeline.studies.tables import gain, mean_sd
from repair_pipeline.treatment.treatments import TREATMENTS

_GAMMAS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Multiples of the posterior's γ, 2/N."""
_CAUSES = ("ewc", "oracle", "random")
"""The methods whose causes every treatment gets: EWC-influence, the planted rows, and a control."""

_CONTROLS = ("base", "finetune", "reseed", "semi_oracle")
GROUPS = {
    "baselines": ("random", "oracle", "loss", "margin", "self_influence", "finetune_loss", "clean_reference"),
    "the paper's": ("ewc", "ewc_difference", "ewc_paper", "linear_gd", "linear_sa", "sgd"),
    "beyond it": ("ewc_kfac", "vcl", "functional"),
    "cross-fitted": ("cross_fit",),
    "labels alone": ("aum", "out_of_bag"),
    "peers": ("confident_learning", "trak", "ekfac"),
}
"""Every method, by group. Each group is a case, so that a new method does not rerun the others."""


@dataclass(frozen=True)
class Methods:
    """The study ``methods``: every method × fine-tuning, and every treatment × {ewc, oracle, random}."""

    families: tuple[str, ...] = ("mnist-label_noise", "mnist-label_noise-hard")
    seeds: Iterable[int] = STUDY_SEEDS
    name: str = "methods"

    def specs(self, family: str, seed: int) -> list[CaseSpec]:
        """A case for each group of methods, and one for the treatments."""
        known = preset(f"{family}-s{seed}")
        assert isinstance(known.dataset, KnownData)
        rows = round(known.dataset.train_size * (1 - known.validation_fraction))
        several = {"ewc_deletion": [{"gamma": factor * 2 / rows} for factor in _GAMMAS], "auto": [{}, {"pool": "all"}]}
        others = {name: several.get(name, [{}]) for name in TREATMENTS if name not in _CONTROLS}

        def case(methods: Sequence[str], treatments: Mapping[str, object]) -> CaseSpec:
            fields = {"influence": {name: {} for name in methods}, "treat": methods, "treatments": treatments}
            return parse_spec(known.resolved | fields)

        first, *groups = GROUPS.values()
        return [
            case(first, {name: {} for name in _CONTROLS}),
            *(case(methods, {"finetune": {}}) for methods in groups),
            case(_CAUSES, others),
        ]

    def cases(self) -> list[CaseSpec]:
        return [spec for family, seed in self._pairs() for spec in self.specs(family, seed)]

    def _pairs(self) -> list[tuple[str, int]]:
        return [(family, seed) for seed in self.seeds for family in self.families]

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        def cases(family: str, seed: int) -> list[Case]:
            return [Case(spec, layout, data_dir, torch.device("cpu")) for spec in self.specs(family, seed)]

        last = upto("evaluation")
        return [Stage([run_cases(f"{family}-s{seed}", cases(family, seed), last) for family, seed in self._pairs()])]

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        detection, recovery = (self._rows(layout, table) for table in ("detection", "recovery"))
        tables = {}
        for family in self.families:
            detected, repaired = (rows[rows["family"] == family] for rows in (detection, recovery))
            for title, table in {
                "detection": _detection(detected),
                "fine-tuning": _fine_tuning(repaired),
                "treatments": _treatments(repaired),
                "gamma": _gamma(repaired),
            }.items():
                tables[f"{family} {title}"] = table
        return tables

    def _rows(self, layout: Layout, table: str) -> pd.DataFrame:
        cases = pd.DataFrame(
            [
                {"case_id": case_id(spec), "family": family, "seed": seed}
                for family, seed in self._pairs()
                for spec in self.specs(family, seed)
            ]
        )
        rows = stored(layout, table, cases)
        if table == "recovery":
            pools = rows["setting"].str.contains('"all"').map({True: "auto, all", False: "auto, data_only"})
            rows["treatment"] = rows["treatment"].where(rows["treatment"] != "auto", pools)
        # The cases of the groups repeat the controls and the methods whose causes are treated.
        return rows.drop_duplicates(["family", "seed", *_KEYS[table]])


def _detection(rows: pd.DataFrame) -> pd.DataFrame:
    """The detection metrics of each method, the best first."""
    table = mean_sd(rows, ["method"], ["auc", "precision_at_n"]).merge(mean_sd(rows, ["method"], ["seconds"], 1))
    order = rows.groupby("method")["auc"].agg(["mean", "min"])
    unsolved = rows[rows["converged"].eq(False)].groupby("method").size()
    table["not converged"] = [unsolved.get(method, 0) for method in table["method"]]
    table["worst auc"] = [f"{order['min'][method]:.3f}" for method in table["method"]]
    return table.iloc[(-order["mean"][table["method"]]).argsort()]


def _fine_tuning(rows: pd.DataFrame) -> pd.DataFrame:
    """Fine-tuning without each method's causes, and its gain over removing as many random rows."""
    tuned = rows[rows["treatment"].isin(["finetune", "reseed", "semi_oracle"])]
    random = tuned[(tuned["treatment"] == "finetune") & (tuned["influence_method"] == "random")]
    return _recovery(tuned, random, pair=_RUN)


def _treatments(rows: pd.DataFrame) -> pd.DataFrame:
    """Every treatment at its chosen setting, on the causes of {ewc, oracle, random}; gains over those of random."""
    kept = rows[rows["chosen"] & (rows["influence_method"].isin(_CAUSES) | rows["influence_method"].isna())]
    return _recovery(kept, kept[kept["influence_method"] == "random"], pair=[*_RUN, "treatment"])


def _gamma(rows: pd.DataFrame) -> pd.DataFrame:
    """EWC-deletion at every γ."""
    curve = rows[rows["treatment"].eq("ewc_deletion") & (rows["influence_method"] == "ewc")]
    return mean_sd(curve, ["treatment", "gamma"], ["holdout_accuracy", "remaining_accuracy"])


_RUN = ["family", "seed"]
_CELL = ["treatment", "influence_method"]
_GAIN = "holdout gain over random [95%]"
_KEYS = {"detection": ["method"], "recovery": [*_CELL, "setting", "removed"]}


def _recovery(rows: pd.DataFrame, control: pd.DataFrame, pair: list[str]) -> pd.DataFrame:
    table = mean_sd(rows, _CELL, ["holdout_accuracy", "remaining_accuracy", "unseen_accuracy"])
    gained = gain(rows, control, pair, _CELL, "holdout_accuracy").rename(columns={"gain": _GAIN})
    table = table.merge(mean_sd(rows, _CELL, ["seconds"], 1)).merge(gained, how="left")
    return table.fillna({"influence_method": "–", _GAIN: "–"})
