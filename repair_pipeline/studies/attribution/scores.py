"""Influences by the methods that are compared: of rows on single queries, and on the failures together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.continual.curvature import Curvature, Factored
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.posterior import Diagonal
from repair_pipeline.continual.solve import ConjugateResiduals, Iterated
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.pairs import pairs
from repair_pipeline.problem.curvature import CurvatureName, curvature_of
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.storage.files import write_tensors
from repair_pipeline.studies.attribution.benchmark import Benchmark
from repair_pipeline.studies.attribution.truth import read_checkpoint
from repair_pipeline.training.fit import predictions
from repair_pipeline.training.recipe import Recipe
from repair_pipeline.types import Examples, QuerySide

_TOLERANCE, _PASSES = 0.01, 60
"""The relative residual of the exact curvature's systems."""


@dataclass(frozen=True)
class Pairwise:
    """Linear influence (Eq. 9) of every row on every query, with one curvature."""

    name: str
    curvature: CurvatureName | None
    """None: the identity, which makes it the dot product of gradients."""
    checkpoints: int = 1
    """Models over which the influences are averaged."""
    early: bool = False
    """Whether these models were stopped early."""

    @property
    def label(self) -> str:
        """Its name in tables."""
        name = self.name if self.curvature is None else f"linear {self.name}"
        return name + self.early * " early" + (self.checkpoints > 1) * f" ×{self.checkpoints}"

    def suits(self, benchmark: Benchmark) -> bool:
        """Whether the benchmark has the models, and the time, for it."""
        return (benchmark.early is not None or not self.early) and (
            benchmark.pairs_exactly or self.curvature != "exact"
        )


@dataclass(frozen=True)
class Summed:
    """A method of the catalogue, which scores rows by the failures together."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def label(self) -> str:
        """Its name in tables."""
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.settings.items())])


_ALONE = {"guard": "none"}
PAIRWISE = (
    Pairwise("grad_dot", None),
    Pairwise("diagonal", "diagonal"),
    Pairwise("kfac", "kfac"),
    Pairwise("ekfac", "ekfac"),
    Pairwise("ekfac", "ekfac", checkpoints=3),
    Pairwise("ekfac", "ekfac", early=True),
    Pairwise("ekfac", "ekfac", early=True, checkpoints=5),
    Pairwise("exact", "exact"),
)
SUMMED = (
    Summed("ewc", _ALONE),
    Summed("ewc_difference", _ALONE),
    Summed("ewc_kfac", {"reading": "difference", "fisher": "expected", **_ALONE}),
    Summed("linear_gd", _ALONE),
    Summed("trak", _ALONE),
    Summed("ekfac", _ALONE),
    Summed("loss"),
    Summed("aum"),
    Summed("out_of_bag"),
)
DETECTORS = (
    *("loss", "margin", "aum", "out_of_bag", "confident_learning", "self_influence"),
    *("ewc", "ewc_difference", "ewc_kfac", "linear_gd", "trak", "ekfac"),
)
"""Methods of the catalogue that look for flipped labels, at their defaults."""


def task_of(benchmark: Benchmark, model: nn.Module, fit: Examples, queries: Examples) -> RepairTask:
    """The repair task of a trained model: its failures among the queries, with the rest as guard."""
    classifier = Classifier(model)
    theta = classifier.theta_hat
    wrong = predictions(model, queries) != queries.labels
    failures, guard = queries[wrong], queries[~wrong]
    return RepairTask(
        classifier=classifier,
        fisher=fisher_diagonal(classifier, theta, fit),
        log_lik_hat=log_likelihoods(classifier, theta, fit),
        fit=fit,
        validation=guard,  # read by trainings that stop early, which the benchmarks' recipes do not
        tests=QuerySide(failures, failures, guard, float(wrong.double().mean())),
        truth=None,
        training=Recipe(benchmark.recipe),
        untrained=benchmark.untrained,
        generator=torch_stream(0, f"attribution/{benchmark.name}/methods"),
    )


def score_pairs(
    benchmark: Benchmark, name: CurvatureName | None, damping: float, model: Path, path: Path, data_dir: Path
) -> list[str]:
    """Store r̃ of every row on every query under one model, (queries, rows); and the seconds and residual it took."""
    with threads(1):
        fit, queries = benchmark.rows(data_dir)
        task = task_of(benchmark, read_checkpoint(benchmark, model), fit, queries)
        began = time.perf_counter()
        curvature: Factored | Iterated
        if name is None:
            curvature = Diagonal(torch.zeros_like(task.fisher))
        else:
            found = curvature_of(task, name, "expected")
            solver = ConjugateResiduals(_TOLERANCE, _PASSES)
            curvature = Iterated(found, solver) if isinstance(found, Curvature) else found  # type: ignore[assignment]
        values = pairs(task, queries, fit, damping / task.fisher.mean().item(), curvature)
        residual = max(curvature.residuals) if isinstance(curvature, Iterated) else 0.0
        write_tensors(path, {"scores": values.float()}, {"seconds": time.perf_counter() - began, "residual": residual})
    return []


def score_summed(
    benchmark: Benchmark, method: Summed, flipped: bool, model: Path, path: Path, data_dir: Path
) -> list[str]:
    """Store the scores of a method of the catalogue for the failures of one model."""
    with threads(1):
        fit, queries = benchmark.rows(data_dir)
        rows = benchmark.flipped(fit) if flipped else fit
        task = task_of(benchmark, read_checkpoint(benchmark, model), rows, queries)
        began = time.perf_counter()
        values = METHODS[method.method](**method.settings).scores(task).values
        write_tensors(path, {"scores": values}, {"seconds": time.perf_counter() - began})
    return []
