"""Realistic label noise, as an owner meets it: what is found, repaired and patched, and the next training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from repair_pipeline.cases.families import STUDY_SEEDS
from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.pipeline.case import Case
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.studies.cases import run_cases, stored, upto
from repair_pipeline.studies.comparison import Comparison
from repair_pipeline.studies.study import Stage
from repair_pipeline.studies.tables import mean_sd

_FAMILIES = (
    "cifar10-instance",
    "cifar10-instance-mild",
    "banking77-instance",
    "mnist-label_noise",
    "mnist-label_noise-hard",
    "digits-label_noise",
)
_CHANGES = ["changed", "changed were wrong", "relabelled", "suggestions right", "wrong before", "wrong after"]


@dataclass(frozen=True)
class RealData:
    """The study ``real_data``: cases with the methods, rule and patch verdict of ``repair init``."""

    families: tuple[str, ...] = _FAMILIES
    seeds: Iterable[int] = STUDY_SEEDS
    name: str = "real_data"

    def cases(self) -> list[CaseSpec]:
        return [self._spec(family, seed) for family, seed in self._pairs()]

    def _pairs(self) -> list[tuple[str, int]]:
        return [(family, seed) for seed in self.seeds for family in self.families]

    def _spec(self, family: str, seed: int) -> CaseSpec:
        fields = {
            "influence": {"ewc": {}, "cross_fit": {}, "loss": {}, "random": {}},
            "causes": {"fdr": 0.1},
            "treat": ["cross_fit"],
            "treatments": {"correct": [{}, {"pool": "data_only"}], "finetune": {}, "base": {}},
            "gate": {"controls": 3},
            "patch": {"trainings": 3},
        }
        return parse_spec(preset(f"{family}-s{seed}").resolved | fields)

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        cases = [Case(spec, layout, data_dir, torch.device("cpu")) for spec in self.cases()]
        return [
            Stage([run_cases(case.id, [case], upto("patch_verdict")) for case in cases]),
            Stage([Comparison(case, self._comparisons(layout)).piece for case in cases]),
        ]

    def _comparisons(self, layout: Layout) -> Path:
        return layout.study(self.name) / "comparisons"

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        known = pd.DataFrame(
            [
                (family, seed, case_id(spec), spec.base_id)
                for family, seed in self._pairs()
                for spec in [self._spec(family, seed)]
            ],
            columns=["family", "seed", "case_id", "base_id"],
        )
        ids = known.drop(columns="base_id")
        detection, recovery, verdicts, trainings = (
            stored(layout, table, ids) for table in ("detection", "recovery", "verdicts", "patch_verdicts")
        )
        by_family = ["family"]
        return {
            "detection": mean_sd(
                detection, [*by_family, "method"], ["auc", "precision_at_n", "n_causes", "precision", "recall"]
            ),
            "patch": mean_sd(
                _patches(layout, known),
                by_family,
                _CHANGES,
            ),
            "next training": mean_sd(
                trainings.assign(**{"gap closed": _gap_closed(trainings)}),
                by_family,
                ["as_is", "patched", "true_labels", "difference", "gap closed"],
            ),
            "repair": mean_sd(
                recovery,
                [*by_family, "influence_method", "treatment", "setting"],
                ["holdout_accuracy", "remaining_accuracy", "unseen_accuracy"],
            ),
            "comparison": self._comparison(layout),
            "verdicts": verdicts[verdicts["judge"] == "gate"].groupby(["family", "verdict"]).size().reset_index(),
            "patch verdicts": trainings[["family", "seed", "verdict", "difference", "difference_low"]],
        }

    def _comparison(self, layout: Layout) -> pd.DataFrame:
        rows = [
            {"family": family, "seed": seed, **row}
            for family, seed in self._pairs()
            for row in Comparison(
                Case(self._spec(family, seed), layout, Path(), torch.device("cpu")), self._comparisons(layout)
            ).rows()
        ]
        keys, accuracies = ["family", "way"], ["holdout_accuracy", "remaining_accuracy", "unseen_accuracy"]
        compared = pd.DataFrame(rows, columns=["seed", *keys, "rows", "of them wrong", *accuracies, "seconds"])
        return mean_sd(compared, keys, ["of them wrong", *accuracies]).merge(
            mean_sd(compared, keys, ["rows", "seconds"], digits=0)
        )


def _gap_closed(trainings: pd.DataFrame) -> pd.Series:
    """The part of the way from training as labelled to training on true labels that the patch goes."""
    return trainings["difference"] / (trainings["true_labels"] - trainings["as_is"])


def _patches(layout: Layout, known: pd.DataFrame) -> pd.DataFrame:
    """What each case's patch changes, against the truth."""
    statement = (
        "SELECT case_id, example_id, examples.label AS given, clean_label, action, suggested_label FROM examples "
        "LEFT JOIN patch USING (case_id, example_id) WHERE split = 'fit'"
    )
    rows = known.merge(query(layout, statement).to_pandas(), on="case_id")
    patches = []
    for (family, seed, base), fit in rows.groupby(["family", "seed", "base_id"], sort=False):
        names = read_parquet(layout.base(str(base), "dataset.parquet"))[1]["classes"]
        wrong = (fit["given"] != fit["clean_label"]).to_numpy()
        dropped, relabelled = ((fit["action"] == action).to_numpy() for action in ("drop", "relabel"))
        right = np.array([names[label] for label in fit["clean_label"]]) == fit["suggested_label"].to_numpy()
        still_wrong = np.where(relabelled, ~right, wrong)[~dropped]
        changed = dropped | relabelled
        patches.append(
            {
                "family": family,
                "seed": seed,
                "changed": changed.sum(),
                "changed were wrong": wrong[changed].mean() if changed.any() else None,
                "relabelled": relabelled.sum(),
                "suggestions right": right[relabelled].mean() if relabelled.any() else None,
                "wrong before": wrong.mean(),
                "wrong after": still_wrong.mean(),
            }
        )
    return pd.DataFrame(patches, columns=["family", "seed", *_CHANGES])
