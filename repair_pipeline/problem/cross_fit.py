"""Predictions of models that were not trained on the row: K-fold cross-fitting of D and the clean query side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from repair_pipeline.problem.anew import trained_anew
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import logits
from repair_pipeline.types import Examples, OutOfFold

FOLDS = 4


def cross_fit(task: RepairTask, watch: Callable[[nn.Module], None] | None = None) -> OutOfFold:
    """Train ``FOLDS`` models, each without one fold of D and the clean rows, and predict the rows of that fold.

    D's rows and the clean rows are predicted alike, by models trained on as many rows of both, so what the clean rows
    show of these predictions holds for D's rows too. Costs ``FOLDS`` trainings by ``trained_anew``.

    Args:
        task: what may be read.
        watch: called with each of the models, which are not kept.
    """
    clean = clean_rows(task)
    rows = Examples.concat([task.fit, clean])
    fold_of = folds(len(rows), task.generator)
    predicted, at = list[Tensor](), list[Tensor]()
    for fold in range(FOLDS):
        model = trained_anew(task, rows[fold_of != fold], task.validation)
        if watch:
            watch(model)
        left_out = rows[fold_of == fold]
        predicted.append(task.classifier.likelihood.predicted(logits(model, left_out), left_out.labels.cpu()))
        at.append(torch.nonzero(fold_of == fold).flatten())
        task.progress(fold + 1, FOLDS)
    probabilities = torch.cat(predicted)[torch.cat(at).argsort()]
    return OutOfFold(
        probabilities[: len(task.fit)], probabilities[len(task.fit) :], clean.labels, len(task.tests.query)
    )


def out_of_fold(task: RepairTask) -> OutOfFold:
    """The task's stored predictions, or else newly computed ones."""
    return task.stored_out_of_fold() if task.stored_out_of_fold else cross_fit(task)


def clean_rows(task: RepairTask) -> Examples:
    """The query failures, followed by the guard rows that may be trained on."""
    _, guard = watched_and_trained(task.tests.guard)
    return Examples.concat([task.tests.query, guard])


def folds(count: int, generator: torch.Generator) -> Int64[Tensor, " n"]:
    """The fold of each of ``count`` rows, at random, equally large to within one row."""
    return torch.randperm(count, generator=generator) % FOLDS
