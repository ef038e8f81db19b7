"""Few failures: how well methods detect the planted rows when 10, 20, 40 or 80 failures are known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from repair_pipeline.cases.families import STUDY_SEEDS
from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.evaluation.detection import detect
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.problem.reading import READINGS
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies import costs
from repair_pipeline.studies.cases import run_cases, upto
from repair_pipeline.studies.study import Piece, Stage
from repair_pipeline.studies.tables import gain, mean_sd
from repair_pipeline.types import Causes, InfluenceScores, silent

_FAILURES = (10, 20, 40, 80, None)
"""|F_q|; None is all failures."""
_GUARDS = (0.0, 0.1, 1.0, 3.0, None)
"""|B_q| / |F_q|; None uses the whole guard pool."""
_FULL_BATCH = 128
_EVERYWHERE = ("ewc", "finetune_loss", "clean_reference")
_DEFAULT = "ewc: posterior_loss"
_AT_RATIO_1 = ("ewc, 0.1 γ", "ewc, 0.01 γ", "ewc_kfac", "linear_gd", "trak", "ekfac")
"""Run only with as many guard cases as failures: stronger penalties, a richer posterior, external baselines."""


@dataclass(frozen=True)
class FewFailures:
    """The study ``few_failures``: AUC over |F_q| × |B_q|."""

    families: tuple[str, ...] = ("mnist-label_noise", "mnist-label_noise-hard")
    seeds: Iterable[int] = STUDY_SEEDS
    name: str = "few_failures"

    def cases(self) -> list[CaseSpec]:
        return [preset(f"{family}-s{seed}") for family, seed in self._pairs()]

    def _pairs(self) -> list[tuple[str, int]]:
        return [(family, seed) for seed in self.seeds for family in self.families]

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        cases = {
            pair: Case(spec, layout, data_dir, torch.device("cpu"))
            for pair, spec in zip(self._pairs(), self.cases(), strict=True)
        }
        return [
            Stage([run_cases(case.id, [case], upto("fisher_diagonal")) for case in cases.values()]),
            Stage([self._piece(case.first_view, family, layout) for (family, _), case in cases.items()]),
        ]

    def _piece(self, view: GroupView, family: str, layout: Layout) -> Piece:
        files = {
            self._file(layout, view.id, failures, guard): sum(
                _seconds(name.partition(",")[0], failures, guard) for name in _methods(guard)
            )
            for failures in _FAILURES
            for guard in _GUARDS
        }
        return Piece(f"{view.id} few failures", files, partial(self._run, view, family))

    def _file(self, layout: Layout, case_id: str, failures: int | None, guard: float | None) -> Path:
        return layout.study(self.name) / "cells" / case_id / f"failures={failures}-guard={guard}.json"

    def _run(self, view: GroupView, family: str) -> list[str]:
        with threads(view.spec.compute.threads):
            for failures in _FAILURES:
                for guard in _GUARDS:
                    path = self._file(view.layout, view.id, failures, guard)
                    if not path.exists():
                        rows = list(_cell(view, failures, guard))
                        table = pd.DataFrame(rows).assign(family=family, seed=view.spec.seed)
                        write_text(path, table.to_json(orient="records"))
        return []

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        files = sorted((layout.study(self.name) / "cells").glob("*/*.json"))
        if not files:
            return {}
        rows = pd.concat([pd.read_json(path, dtype={"failures": str, "guard": str}) for path in files])
        tables = {}
        for family in self.families:
            family_rows = rows[rows["family"] == family]
            for guard in ("1.0", "0.0", "0.1", "3.0", "all"):
                cells = family_rows[family_rows["guard"] == guard]
                tables[f"{family} guard {guard}"] = _by_failures(
                    mean_sd(cells, ["method", "failures"], ["auc"], digits=2), "auc"
                )
                tables[f"{family} guard {guard}, gain of {_DEFAULT} [95%]"] = _by_failures(_gains(cells), "gain")
        return tables


def _methods(guard: float | None) -> tuple[str, ...]:
    return _EVERYWHERE + (_AT_RATIO_1 if guard == 1 else ())


def _seconds(method: str, failures: int | None, guard: float | None) -> float:
    """The expected seconds of a method; with few rows to learn, batches are small."""
    if method not in ("ewc", "ewc_kfac", "finetune_loss", "clean_reference"):
        return costs.METHODS[method]
    # A guard row has the weight τ = |F_q| / |B_q|; the rows with the largest weight limit the length of an epoch.
    learnt = (failures or _FULL_BATCH) * (1.0 if guard == 0 else 2 * min(1.0, guard or 1.0))
    return costs.METHODS[method] * max(0.2, min(1.0, learnt / _FULL_BATCH))


def _cell(view: GroupView, failures: int | None, guard: float | None) -> Iterator[dict[str, Any]]:
    known = {"failures": str(failures or "all"), "guard": "all" if guard is None else str(guard)}

    def row(name: str, scores: InfluenceScores, seconds: float) -> dict[str, Any]:
        detection = detect(scores, view.data.fit.corrupted, Causes(()))
        metrics = {"auc": detection.auc, "precision_at_n": detection.precision_at_n}
        return {**known, "method": name, **metrics, "seconds": seconds}

    for label in _methods(guard):
        name, _, scaled = label.partition(", ")
        task, started = _fewer(view, failures, name), time.perf_counter()
        settings: dict[str, Any] = {"guard": "none"} if guard == 0 else {"guard_ratio": guard}
        if scaled:
            settings["gamma"] = float(scaled.removesuffix(" γ")) * task.gamma(None)
        method = METHODS[name](**settings)
        if isinstance(method, EWCInfluence):
            before, after = method.learnt(task)
            seconds = time.perf_counter() - started
            for reading, read in READINGS.items():
                yield row(f"{label}: {reading}", InfluenceScores(task.fit.ids, read(task, before, after)), seconds)
        else:
            yield row(label, method.scores(task), time.perf_counter() - started)
    yield row("loss", METHODS["loss"]().scores(_fewer(view, failures, "loss")), 0.0)


def _fewer(view: GroupView, failures: int | None, method: str) -> RepairTask:
    """The case's task with ``failures`` of its query failures: nested subsets, the same for every method."""
    task = view.task(f"few_failures/{method}", silent)
    order = torch.randperm(len(task.tests.query), generator=torch_stream(view.spec.seed, "few_failures"))
    return replace(task, tests=replace(task.tests, query=task.tests.query[order[:failures]]))


def _gains(rows: pd.DataFrame) -> pd.DataFrame:
    """The gain in AUC of the default reading over each other method, paired over seeds."""
    default, others = rows[rows["method"] == _DEFAULT], rows[rows["method"] != _DEFAULT]
    return pd.concat(
        gain(default, other, ["seed", "failures"], ["failures"], "auc").assign(method=method)
        for method, other in others.groupby("method")
    )


def _by_failures(table: pd.DataFrame, value: str) -> pd.DataFrame:
    order = [str(count or "all") for count in _FAILURES]
    return table.pivot(index="method", columns="failures", values=value).reindex(columns=order).reset_index()
