"""Does an influence say what happens if rows are removed, and does it find wrong rows? The field's benchmarks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.device import threads
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.files import read_tensors, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.studies.attribution.benchmark import BENCHMARKS, Benchmark
from repair_pipeline.studies.attribution.measures import Estimate, area, gained, mean_lds, summed_lds
from repair_pipeline.studies.attribution.scores import (
    DETECTORS,
    PAIRWISE,
    SUMMED,
    Pairwise,
    Summed,
    score_pairs,
    score_summed,
)
from repair_pipeline.studies.attribution.truth import (
    half,
    log_p,
    random_rows,
    read_checkpoint,
    retrain_on_halves,
    train_checkpoint,
)
from repair_pipeline.studies.study import Piece, Stage
from repair_pipeline.training.fit import predictions

_BLOCK = 10
"""Halves for each file of the ground truth."""
_REMOVED = (0.01, 0.05)
"""Shares of D that are removed."""
_RANDOM = "random"
_REMOVERS = (
    *("grad_dot", "linear ekfac", "linear ekfac early ×5", "linear exact"),
    *("linear_gd guard=none", "trak guard=none", "ekfac guard=none", "ewc guard=none", "loss", "aum"),
)


@dataclass(frozen=True)
class Attribution:
    """The study ``attribution``: LDS, removals and flipped labels on dattri's benchmarks."""

    benchmarks: tuple[Benchmark, ...] = tuple(BENCHMARKS.values())
    pairwise: tuple[Pairwise, ...] = PAIRWISE
    summed: tuple[Summed, ...] = SUMMED
    detectors: tuple[str, ...] = DETECTORS
    removers: tuple[str, ...] = _REMOVERS
    name: str = "attribution"

    def cases(self) -> Sequence[CaseSpec]:
        return []

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        everything = [_Paths(layout, self.name, benchmark) for benchmark in self.benchmarks]
        return [
            Stage([piece for paths in everything for piece in self._trained(paths, data_dir)]),
            Stage([piece for paths in everything for piece in self._scored(paths, data_dir)]),
            Stage([piece for paths in everything for piece in self._removed(paths, data_dir)]),
            Stage([self._measured(paths, data_dir) for paths in everything]),
        ]

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        rows = query(layout, f"SELECT * FROM attribution WHERE study = '{self.name}'").to_pandas()
        if rows.empty:
            return {}
        shown = rows.assign(**{"value [95%]": [_shown(row) for row in rows.itertuples()]})
        tables = {}
        for (data, measure), part in shown.groupby(["data", "measure"], sort=False):
            wide = part.pivot_table("value [95%]", "method", "query_set", aggfunc="first").fillna("–")
            order = part.groupby("method")["value"].max().sort_values(ascending=False).index
            tables[f"{data} {measure}"] = wide.loc[order].reset_index()
        return tables

    def _trained(self, paths: _Paths, data_dir: Path) -> Iterator[Piece]:
        benchmark = paths.benchmark
        for early in (False, True):
            counts = [method.checkpoints for method in self._pairwise(benchmark) if method.early == early]
            epochs = benchmark.early.epochs if early and benchmark.early else None
            for number in range(max(counts, default=0)):
                path = paths.checkpoint(number, early)
                make = partial(train_checkpoint, benchmark, number, False, epochs, path, data_dir)
                yield Piece(f"{benchmark.name} {path.stem}", {path: benchmark.seconds}, make)
        make = partial(train_checkpoint, benchmark, 0, True, None, paths.flipped, data_dir)
        yield Piece(f"{benchmark.name} flipped", {paths.flipped: benchmark.seconds}, make)
        for first in range(0, benchmark.halves, _BLOCK):
            path, numbers = paths.halves(first), range(first, min(first + _BLOCK, benchmark.halves))
            make = partial(retrain_on_halves, benchmark, numbers, path, data_dir)
            yield Piece(f"{benchmark.name} {path.stem}", {path: benchmark.seconds * len(numbers) / 2}, make)

    def _scored(self, paths: _Paths, data_dir: Path) -> Iterator[Piece]:
        benchmark, seconds = paths.benchmark, 10 * paths.benchmark.seconds
        most = dict[tuple[str, bool], Pairwise]()  # of two that differ in their number of checkpoints the larger one
        for method in sorted(self._pairwise(benchmark), key=lambda method: method.checkpoints):
            most[method.name, method.early] = method
        for method in most.values():
            damping = benchmark.early.damping if method.early and benchmark.early else benchmark.damping
            for number, path in enumerate(paths.pairs(method)):
                model = paths.checkpoint(number, method.early)
                make = partial(score_pairs, benchmark, method.curvature, damping, model, path, data_dir)
                yield Piece(f"{benchmark.name} {path.stem}", {path: seconds}, make)
        tasks = [(method, False) for method in self.summed] + [(Summed(method), True) for method in self.detectors]
        for summed, flipped in tasks:
            path, model = paths.summed(summed, flipped), paths.flipped if flipped else paths.checkpoint(0)
            make = partial(score_summed, benchmark, summed, flipped, model, path, data_dir)
            yield Piece(f"{benchmark.name} {path.stem}", {path: seconds}, make)

    def _pairwise(self, benchmark: Benchmark) -> list[Pairwise]:
        return [method for method in self.pairwise if method.suits(benchmark)]

    def _labels(self, benchmark: Benchmark) -> list[str]:
        pairwise = [method.label for method in self._pairwise(benchmark)]
        return pairwise + [method.label for method in self.summed]

    def _removed(self, paths: _Paths, data_dir: Path) -> Iterator[Piece]:
        known = self._labels(paths.benchmark)
        for name in (_RANDOM, *(name for name in self.removers if name in known)):
            files = {
                paths.removal(name, share): paths.benchmark.seconds * paths.benchmark.removals for share in _REMOVED
            }
            yield Piece(f"{paths.benchmark.name} without {name}", files, partial(self._remove, paths, name, data_dir))

    def _remove(self, paths: _Paths, name: str, data_dir: Path) -> list[str]:
        """Retrain without the rows that harm the failures most, with the same seeds for every method."""
        benchmark = paths.benchmark
        with threads(1):
            fit, queries = benchmark.rows(data_dir)
            for share in _REMOVED:
                path, count = paths.removal(name, share), round(share * benchmark.fit)
                if path.exists():
                    continue
                values = []
                for number in range(benchmark.removals):
                    removed = (
                        random_rows(benchmark, count, number)
                        if name == _RANDOM
                        else np.argsort(-self._on_failures(paths, name, data_dir), kind="stable")[:count]
                    )
                    kept = np.setdiff1d(np.arange(benchmark.fit), removed)
                    model = benchmark.trained(fit[torch.from_numpy(kept)], f"removal-{number}")
                    values.append(log_p(model, queries))
                write_tensors(path, {"log_p": torch.stack(values)}, {"removed": count})
        return []

    def _measured(self, paths: _Paths, data_dir: Path) -> Piece:
        needed = [piece for stage in (self._trained, self._scored, self._removed) for piece in stage(paths, data_dir)]
        newest = max((path.stat().st_mtime_ns for piece in needed for path in piece.files if path.exists()), default=0)
        path = paths.table
        # Made again whenever anything that it reads was: the bootstrap takes seconds.
        stale = frozenset([path]) if path.exists() and path.stat().st_mtime_ns < newest else frozenset[Path]()
        return Piece(f"{paths.benchmark.name} measures", {path: 30.0}, partial(self._measure, paths, data_dir), stale)

    def _measure(self, paths: _Paths, data_dir: Path) -> list[str]:
        """Measure every method whose files are there; one that failed stops no other."""
        rows = [*self._lds(paths, data_dir), *self._effects(paths, data_dir), *self._detected(paths, data_dir)]
        save_rows(paths.table, "attribution", rows, {"benchmark": paths.benchmark.name})
        return []

    def _lds(self, paths: _Paths, data_dir: Path) -> Iterator[dict[str, object]]:
        benchmark, wrong = paths.benchmark, self._failures(paths, data_dir)
        measured = np.concatenate(
            [read_tensors(paths.halves(first))[0]["log_p"].numpy() for first in range(0, benchmark.halves, _BLOCK)]
        )
        kept = np.zeros((benchmark.halves, benchmark.fit))
        for number in range(benchmark.halves):
            kept[number, half(benchmark, number)] = 1
        scored = [method for method in self._pairwise(benchmark) if self._is_scored(paths, method.label)]
        for method in scored:
            # A row that opposes a query (r̃ > 0) lowers its log p where it is kept.
            predicted = -kept @ self._pairs(paths, method).T
            yield self._row(paths, "LDS", method.label, "each", mean_lds(predicted, measured), len(wrong))
        for name in self._labels(benchmark):
            if not self._is_scored(paths, name):
                continue
            predicted = -kept @ self._on_failures(paths, name, data_dir)
            estimate = summed_lds(predicted, measured[:, wrong].sum(axis=1))
            yield self._row(paths, "LDS", name, "failures", estimate, int(wrong.sum()))

    def _effects(self, paths: _Paths, data_dir: Path) -> Iterator[dict[str, object]]:
        wrong = self._failures(paths, data_dir)
        for share in _REMOVED:
            log_p_of = {
                name: read_tensors(paths.removal(name, share))[0]["log_p"].numpy()[:, wrong]
                for name in (_RANDOM, *self.removers)
                if paths.removal(name, share).exists()
            }
            if _RANDOM not in log_p_of:
                continue
            control = log_p_of.pop(_RANDOM)
            for name, values in log_p_of.items():
                estimate = gained(values, control)
                yield self._row(paths, f"QLD {share:.0%}", name, "failures", estimate, int(wrong.sum()))

    def _detected(self, paths: _Paths, data_dir: Path) -> Iterator[dict[str, object]]:
        fit, _ = paths.benchmark.rows(data_dir)
        flipped = (paths.benchmark.flipped(fit).labels != fit.labels).numpy()
        for method in self.detectors:
            if not paths.summed(Summed(method), True).exists():
                continue
            scores = read_tensors(paths.summed(Summed(method), True))[0]["scores"].numpy()
            yield self._row(paths, "AUC of flips", method, "failures", area(scores, flipped), int(flipped.sum()))

    def _row(
        self, paths: _Paths, measure: str, method: str, query_set: str, estimate: Estimate, queries: int
    ) -> dict[str, object]:
        return {
            "study": self.name,
            "data": paths.benchmark.name,
            "measure": measure,
            "method": method,
            "query_set": query_set,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "queries": queries,
            "trainings": paths.benchmark.removals if measure.startswith("QLD") else paths.benchmark.halves,
        }

    def _failures(self, paths: _Paths, data_dir: Path) -> np.ndarray:
        """Which queries the first checkpoint gets wrong."""
        _, queries = paths.benchmark.rows(data_dir)
        model = read_checkpoint(paths.benchmark, paths.checkpoint(0))
        return (predictions(model, queries) != queries.labels).numpy()

    def _pairs(self, paths: _Paths, method: Pairwise) -> Float64[np.ndarray, "m n"]:
        return np.mean([read_tensors(file)[0]["scores"].double().numpy() for file in paths.pairs(method)], axis=0)

    def _is_scored(self, paths: _Paths, name: str) -> bool:
        files = {method.label: [paths.summed(method, False)] for method in self.summed}
        for method in self.pairwise:
            files[method.label] = paths.pairs(method)
        return all(path.exists() for path in files[name])

    def _on_failures(self, paths: _Paths, name: str, data_dir: Path) -> Float64[np.ndarray, " n"]:
        """A method's r̃ of every row on the failures together."""
        for method in self.pairwise:
            if method.label == name:
                return self._pairs(paths, method)[self._failures(paths, data_dir)].sum(axis=0)
        (summed,) = (method for method in self.summed if method.label == name)
        return read_tensors(paths.summed(summed, False))[0]["scores"].numpy()


@dataclass(frozen=True)
class _Paths:
    """The files of one benchmark."""

    layout: Layout
    study: str
    benchmark: Benchmark

    @property
    def _folder(self) -> Path:
        return self.layout.study(self.study) / self.benchmark.name

    @property
    def flipped(self) -> Path:
        return self._folder / "flipped.safetensors"

    @property
    def table(self) -> Path:
        return self.layout.attribution(self.study, self.benchmark.name)

    def checkpoint(self, number: int, early: bool = False) -> Path:
        return self._folder / f"{'early' if early else 'checkpoint'}-{number}.safetensors"

    def halves(self, first: int) -> Path:
        return self._folder / f"halves-{first}.safetensors"

    def pairs(self, method: Pairwise) -> list[Path]:
        name = f"pairs-{method.name}{'-early' if method.early else ''}"
        return [self._folder / f"{name}-{number}.safetensors" for number in range(method.checkpoints)]

    def summed(self, method: Summed, flipped: bool) -> Path:
        name = method.label.replace(" ", "-")
        return self._folder / f"{'flipped' if flipped else 'summed'}-{name}.safetensors"

    def removal(self, name: str, share: float) -> Path:
        return self._folder / f"without-{name.replace(' ', '-')}-{share:g}.safetensors"


def _shown(row: object) -> str:
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"  # type: ignore[attr-defined]  # a named tuple of pandas
