"""Correcting the labels of the causes, and training on what results."""

from typing import Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.problem.anew import trained_anew
from repair_pipeline.problem.cross_fit import clean_rows, out_of_fold
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.finetuning import finetuned
from repair_pipeline.types import Causes, Examples


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Correct:
    """Train as the base model is trained, on D with soft labels for the causes, F_q and the guard.

    The soft label of a cause has P(right) at the given label, and the rest where models expect it that were not trained
    on the row. Rows that are no causes keep their labels. Validation rows are not corrected, so causes among them are
    excluded from early stopping. Costs a training, after those of ``cross_fit``.
    """

    pool: Literal["data_only", "all"] = "all"
    """``data_only``: without F_q and the guard, which then reach the model only through the soft labels."""
    start: Literal["new", "trained"] = "new"
    """``trained``: from θ̂ instead of a newly initialised model."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        predicted, labels = out_of_fold(task), task.fit.labels.cpu()
        likelihood, share = task.classifier.likelihood, task.tests.failure_share
        _, harmful = harm(likelihood, predicted, labels, share)
        suggested = suggestions(likelihood, predicted, labels, harmful, share)
        corrected = suggested.soft_labels(labels, harmful.where(task.fit.having(causes.as_set), torch.zeros(())))
        rows, targets = [task.fit], [corrected]
        if self.pool == "all":
            clean = clean_rows(task)
            rows.append(clean)
            targets.append(likelihood.soft(clean.labels.cpu(), corrected))
        learnt, soft = Examples.concat(rows), torch.cat(targets).float()
        validation = task.validation.without(causes.as_set)
        if task.classifier.partial or self.start == "trained":
            return finetuned(task, learnt, validation, soft)
        return trained_anew(task, learnt, validation, soft, task.progress)
