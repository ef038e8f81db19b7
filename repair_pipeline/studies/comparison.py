"""What an owner would do instead of the repair, and what each part of the repair brings: one row a way."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.evaluation.recovery import recovery
from repair_pipeline.influence.external.confident_learning import label_issues
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.causes import causes_of
from repair_pipeline.problem.anew import trained_anew
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.problem.cross_fit import clean_rows, out_of_fold
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.storage.files import read_parquet, read_tensors, write_text
from repair_pipeline.storage.records import load_scores
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.studies import costs
from repair_pipeline.studies.study import Piece
from repair_pipeline.treatment import SAP, Correct, Potion, Retrain, Untouched
from repair_pipeline.treatment.finetuning import average, between, finetuned
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.types import Causes, Examples, silent

_HARMFUL = 0.1
"""The least P(harmful) of a row whose label is corrected, as in the catalogue's ``correct``."""


@dataclass(frozen=True)
class CleanRowsAlone:
    """Fine-tune on F_q and the guard, without D."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return finetuned(task, clean_rows(task), task.validation)


@dataclass(frozen=True)
class AnewWithCleanRows:
    """Train anew on (D∖C) ∪ F_q and the guard."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        rows = Examples.concat([task.fit.without(causes.as_set), clean_rows(task)])
        return trained_anew(task, rows, task.validation.without(causes.as_set))


@dataclass(frozen=True)
class OnLine:
    """Fine-tune on D∖C by the case's training; the average of several, the best point on the line to it, or both."""

    models: int
    interpolated: bool

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        rest, validation = task.fit.without(causes.as_set), task.validation.without(causes.as_set)
        start = task.classifier.module(task.theta_hat)
        reached = average(
            [task.training.fit(start, rest, validation, task.generator, start="trained") for _ in range(self.models)]
        )
        return between(task, reached) if self.interpolated else reached


@dataclass(frozen=True)
class Uncalibrated:
    """``Correct`` with the out-of-fold p(given label) in place of the calibrated P(right)."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        predicted, clean = out_of_fold(task), clean_rows(task)
        labels = torch.cat([task.fit.labels.cpu(), clean.labels.cpu()])
        targets = nn.functional.one_hot(labels, predicted.fit.shape[1]).double()
        # At 1 − p(given) as P(wrong), the soft label of ``Correct`` is the prediction itself.
        at = torch.nonzero(task.fit.having(causes.as_set)).flatten()
        targets[at] = predicted.fit[at]
        rows, validation = Examples.concat([task.fit, clean]), task.validation.without(causes.as_set)
        return trained_anew(task, rows, validation, targets.float())


Rows = Literal["none", "issues", "loss", "fdr", "positive", "harmful", "unlikely"]
"""Rows that are treated: cleanlab's label issues; as many with the highest loss; the causes of ``cross_fit`` by the
case's rule; those of ``ewc`` by ``causes: {positive: true}``; the rows that ``correct`` corrects; those that it would
correct if 1 − p(given label) by the models of ``cross_fit`` were P(harmful)."""


@dataclass(frozen=True)
class Way:
    """One row of the table."""

    name: str
    rows: Rows
    treatment: Treatment
    costs_like: str
    """The treatment whose expected seconds the plan takes."""


WAYS = (
    Way("the model as it is", "none", Untouched(), "base"),
    Way("trained anew on all rows", "none", Retrain(), "retrain"),
    Way("cleanlab's issues dropped, trained anew", "issues", Retrain(), "retrain"),
    Way("as many of highest loss dropped, trained anew", "loss", Retrain(), "retrain"),
    Way("the causes dropped, trained anew", "fdr", Retrain(), "retrain"),
    Way("fine-tuned on failures and guard alone", "none", CleanRowsAlone(), "finetune"),
    Way("SAP", "none", SAP(), "sap"),
    Way("Potion of cleanlab's issues", "issues", Potion(), "potion"),
    Way("Potion of the causes", "fdr", Potion(), "potion"),
    Way("failures and guard added, trained anew", "none", AnewWithCleanRows(), "correct"),
    Way("the same, cleanlab's issues dropped", "issues", AnewWithCleanRows(), "correct"),
    Way("corrected", "harmful", Correct(), "correct"),
    Way("corrected, uncalibrated", "unlikely", Uncalibrated(), "correct"),
    Way("corrected, from the model", "harmful", Correct(start="trained"), "finetune"),
    Way("fine-tuned without the causes", "fdr", OnLine(1, interpolated=False), "finetune"),
    Way("fine-tuned, interpolated", "fdr", OnLine(1, interpolated=True), "finetune"),
    Way("average of three", "fdr", OnLine(3, interpolated=False), "finetune"),
    Way("average of three, interpolated", "fdr", OnLine(3, interpolated=True), "finetune"),
    Way("fine-tuned without ewc's positive, interpolated", "positive", OnLine(1, interpolated=True), "finetune"),
)
"""First what an owner would do instead, then ablations of correction and of fine-tuning."""


@dataclass(frozen=True)
class Comparison:
    """All ways on one case that has run up to its tables. They share a random stream, so that they differ by the way.

    Seconds include finding the rows: cleanlab's five trainings, or the four of ``cross_fit``, from the case's files.
    """

    case: Case
    folder: Path = field(repr=False)

    @property
    def piece(self) -> Piece:
        """Its work; each way has a file."""
        files = {self._file(way): costs.STEPS.get(f"repaired_{way.costs_like}", 1.0) for way in WAYS}
        issues = {self._issues: costs.METHODS["confident_learning"]}
        return Piece(f"{self.case.id} comparison", issues | files, self.run)

    def rows(self) -> list[dict[str, object]]:
        """The rows of the ways that have run, in their order."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in map(self._file, WAYS) if path.exists()]

    def run(self) -> list[str]:
        """Run the ways whose files are missing; returns a line for each failure."""
        view, failed = self.case.first_view, []
        with threads(view.spec.compute.threads):
            for way in (way for way in WAYS if not self._file(way).exists()):
                try:
                    write_text(self._file(way), json.dumps(self._row(view, way)))
                except Exception as error:
                    logging.getLogger(__name__).error("%s failed", way.name, exc_info=error)
                    failed.append(f"{way.name} failed: {error}")
        return failed

    def _row(self, view: GroupView, way: Way) -> dict[str, object]:
        causes, finding = self._found(view, way.rows)
        task, watch = view.task("comparison", silent), Stopwatch(view.device)
        model = way.treatment.repaired(task, causes)
        seconds = finding + watch.notes()["seconds"]
        reached = recovery(model, view.partition)
        return {
            "way": way.name,
            "rows": len(causes) if way.rows != "none" else None,
            "of them wrong": len(causes.as_set & view.data.fit.corrupted_ids) / len(causes) if len(causes) else None,
            "holdout_accuracy": reached.holdout_accuracy,
            "remaining_accuracy": reached.remaining_accuracy,
            "unseen_accuracy": reached.unseen_accuracy,
            "seconds": seconds,
        }

    def _found(self, view: GroupView, rows: Rows) -> tuple[Causes, float]:
        """The rows to treat, and the seconds that finding them took."""
        fitted = float(read_tensors(view.out_of_fold_path)[1]["seconds"])
        match rows:
            case "none":
                return Causes(()), 0.0
            case "issues":
                return self._label_issues(view)
            case "loss":
                path = view.influence_path("loss")
                scores, taken = load_scores(path, view.data.fit.examples), len(self._label_issues(view)[0])
                return scores.top(taken), float(read_parquet(path)[1]["seconds"])
            case "fdr":
                return causes_of(view, "cross_fit"), fitted
            case "positive":
                path = view.influence_path("ewc")
                return causes_of(view, "ewc", CausesRule(positive=True)), float(read_parquet(path)[1]["seconds"])
            case "harmful":
                return causes_of(view, "cross_fit", CausesRule(harmful=_HARMFUL)), fitted
            case "unlikely":
                predicted, given = view.out_of_fold().fit, view.data.fit.examples.labels
                unlikely = 1 - predicted.gather(1, given[:, None]).flatten() >= _HARMFUL
                return Causes(tuple(view.data.fit.examples.ids[unlikely.numpy()].tolist())), fitted

    def _label_issues(self, view: GroupView) -> tuple[Causes, float]:
        if not self._issues.exists():
            watch = Stopwatch(view.device)
            found = label_issues(view.task("comparison/label_issues", silent))
            write_text(self._issues, json.dumps({"ids": found.ids, "seconds": watch.notes()["seconds"]}))
        kept = json.loads(self._issues.read_text(encoding="utf-8"))
        return Causes(tuple(kept["ids"])), kept["seconds"]

    @property
    def _issues(self) -> Path:
        return self.folder / self.case.id / "label issues.json"

    def _file(self, way: Way) -> Path:
        return self.folder / self.case.id / f"{way.name}.json"
