"""The steps of a case: the files that each makes, and the files that it reads."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from repair_pipeline.cases.build import build_corruption
from repair_pipeline.cases.grid import variants
from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.evaluation.partition import partition
from repair_pipeline.influence.calibrated import calibrated
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.likelihoods.number import Number
from repair_pipeline.models.user_model import load_weights
from repair_pipeline.pipeline import doubtful_tests, evaluation, gate, ledger, patch, repairs
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.doubtful_tests import log_p
from repair_pipeline.pipeline.failures import group_masks, group_of
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.inputs import tracked_inputs
from repair_pipeline.pipeline.next_training import next_trainings
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.summary import summary
from repair_pipeline.pipeline.weights import read_file, weights_path
from repair_pipeline.problem.cross_fit import cross_fit
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.reporting.figures import case_figures
from repair_pipeline.reporting.report import render_report
from repair_pipeline.storage.files import write_tensors, write_text
from repair_pipeline.storage.records import inputs_path, save_dataset, save_partition, save_scores
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.tracking.runs import track
from repair_pipeline.training.fit import logits, predictions
from repair_pipeline.training.fit import right as correct
from repair_pipeline.treatment.auto import EVALUATED
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Progress

# The steps that lie upstream of the failures.


def _corrupted_dataset(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        watch, spec = Stopwatch(case.device), case.spec
        dataset = case.source_dataset(numpy_stream(spec.seed, "dataset"))
        corruption = build_corruption(spec, len(dataset.classes), case.device)
        data = corrupt(dataset, corruption, spec.validation_fraction, numpy_stream(spec.seed, "corruption"))
        save_dataset(path, data, watch.notes, progress)

    beside, inputs = (inputs_path(case.dataset_path),), (*_DATA, "dataset.name")
    return [File(case.dataset_path, case.patch_paths, make, beside=beside, inputs=inputs)]


_DATA = ("dataset.train", "dataset.test", "dataset.tokenizer", "dataset.transform", "dataset.torchvision")
_MODEL = ("model.weights", "model.transformers", "model.factory", "training.function", "training.augment")
_FAILURES = ("failures.list", "failures.reported")


def _base_model(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        watch, spec, data = Stopwatch(case.device), case.spec, case.data
        generator = torch_stream(spec.seed, "base_model")
        fit_rows, validation = data.fit.examples, data.validation.examples
        model = case.untrained(generator)
        require_fitting(model, fit_rows, data.classes, data.features, adapted=spec.parameters or "all")
        if weights := weights_path(spec, case.layout):
            load_weights(model, read_file(weights), str(weights))
        else:
            model = case.training.fit(model, fit_rows, validation, generator, start="new", progress=progress)
        task, notes = spec.task, watch.notes()
        if isinstance(task, Number):
            notes |= {"sigma": task.fitted(logits(model, validation), validation.labels).sigma}
        write_tensors(path, model.state_dict(), notes)

    return [File(case.base_model_path, (case.dataset_path,), make, inputs=_MODEL)]


def _fisher_diagonal(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        watch, rows = Stopwatch(case.device), case.data.fit.examples
        classifier = Classifier(case.model(case.base_model_path))
        fisher = fisher_diagonal(classifier, classifier.theta_hat, rows, progress=progress)
        log_lik_hat = log_likelihoods(classifier, classifier.theta_hat, rows)
        write_tensors(path, {"fisher": fisher, "log_lik_hat": log_lik_hat}, watch.notes(rows=len(rows)))

    return [File(case.fisher_path, (case.base_model_path,), make)]


def _failure_partition(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        watch, spec, data = Stopwatch(case.device), case.spec, case.data
        model, rng = case.model(case.base_model_path), numpy_stream(spec.seed, "failure_partition")
        predicted, right = predictions(model, data.test, progress), correct(model, data.test)
        groups = group_masks(spec, data, predicted, right)
        tests = partition(right, data.test, spec.query_fraction, rng, groups, data.also_in_training)
        save_partition(path, data, tests, watch.notes(), group_of(groups, data.test) if groups else None)

    return [File(case.partition_path, (case.base_model_path,), make, inputs=_FAILURES)]


# Step I and step II.


def _influence(case: Case, method: str) -> list[File]:
    if method not in case.spec.influence:
        return []

    def make(view: GroupView, path: Path, progress: Progress) -> None:
        watch = Stopwatch(case.device)
        made = case.spec.influence_method(method)
        task = view.task(f"influence/{method}", progress, METHODS[method].role)
        calibrates = method in case.spec.calibrated and not METHODS[method].calibrates
        scores = calibrated(made, task) if calibrates else made.scores(task)
        save_scores(path, scores, watch.notes(settings=case.spec.influence[method]), view.group)

    return [
        File(
            view.influence_path(method),
            (case.fisher_path, case.partition_path, *([view.out_of_fold_path] if method == "cross_fit" else [])),
            partial(make, view),
        )
        for view in case.views
    ]


def _cross_fit(case: Case) -> list[File]:
    if not case.spec.cross_fits:
        return []

    def make(view: GroupView, path: Path, progress: Progress) -> None:
        watch, task = Stopwatch(case.device), view.task("cross_fit", progress)
        of_tests = list[Tensor]()
        predicted = cross_fit(task, lambda model: of_tests.append(log_p(model, case.data.test)))
        tensors = {"fit": predicted.fit, "clean": predicted.clean, "clean_labels": predicted.clean_labels}
        # In a file of their own, which no method reads: holdout and remaining are among them.
        write_tensors(view.cross_predicted_path, {"log_p": torch.stack(of_tests).mean(dim=0)}, watch.notes())
        write_tensors(path, tensors, watch.notes(failures=predicted.failures))

    return [
        File(
            view.out_of_fold_path,
            (case.fisher_path, case.partition_path),
            partial(make, view),
            beside=(view.cross_predicted_path,),
        )
        for view in case.views
    ]


def _patch_verdict(case: Case) -> list[File]:
    return next_trainings(case, case.spec.patch.trainings) if case.spec.patch else []


def _pairs(case: Case) -> list[File]:
    if not (case.spec.gate and case.spec.treat):
        return []
    sources = tuple(view.influence_path(case.spec.treat[0]) for view in case.views)
    path = case.layout.table("pairs", case.id)
    return [File(path, (case.fisher_path, case.partition_path, *sources), partial(patch.write_pairs, case))]


def _gate_controls(case: Case) -> list[File]:
    if case.spec.gate is None:
        return []
    return [file for view in case.views for file in gate.compared(view)]


def _doubtful_tests(case: Case) -> list[File]:
    return doubtful_tests.doubtful(case, _cross_fit(case)) if case.spec.gate else []


# What it came to.


def _evaluation(case: Case) -> list[File]:
    views = case.views
    influence = tuple(view.influence_path(method) for view in views for method in case.spec.influence)
    models = tuple(view.model_path(variant) for view in views for variant in evaluation.grid(case))
    searches = tuple(view.model_path(variant) for view in views for variant in variants(case.spec, "auto"))
    controls = tuple(file.path for file in _gate_controls(case))
    doubts = tuple(file.path for file in _doubtful_tests(case))
    tables = {
        "candidates": (evaluation.write_candidates, searches),
        "groups": (evaluation.write_groups, ()),
        "holdout_reads": (ledger.write_reads, ()),
        "cross_harm": (evaluation.write_cross_harm, models),
        "verdicts": (gate.write_verdicts, models + controls + doubts),
        "detection": (evaluation.write_detection, influence),
        "detection_curve": (evaluation.write_detection_curve, influence),
        "recovery": (evaluation.write_recovery, models),
        "timings": (evaluation.write_timings, influence + models),
    }
    if case.spec.gate:
        predicted = tuple(file.path for file in (*_pairs(case), *_cross_fit(case)))
        tables["patch"] = (patch.write_patch, models + influence + predicted)
    return [
        File(
            case.layout.table(table, case.id),
            (case.partition_path,),
            partial(write, case),
            optional=optional,
        )
        for table, (write, optional) in tables.items()
    ]


def _report(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        write_text(path, render_report(case.layout, case.id, case.data, case.first_view.partition))

    gated = _tables(case, "verdicts", "doubtful_tests", "pairs", "patch", "patch_verdicts") if case.spec.gate else ()
    return [File(case.layout.report(case.id), _tables(case, *_REPORTED), make, optional=gated)]


_REPORTED = ("detection", "detection_curve", "recovery", "timings")


def _tables(case: Case, *names: str) -> tuple[Path, ...]:
    return tuple(case.layout.table(name, case.id) for name in names)


def _tracked_run(case: Case) -> list[File]:
    def make(path: Path, progress: Progress) -> None:
        view, judged = case.first_view, summary(case)
        made = gate.repair(view)
        model = case.model(view.model_path(made.variant)) if made and made.removed else None
        figures = case_figures(case.layout, case.id, case.data, view.partition)
        tags = {"repair.judged": judged.repair, "repair.verdict": judged.verdict}
        run = track(
            case.layout, case.id, tracked_inputs(case), model, case.data.test, figures, judged.metrics, tags, progress
        )
        write_text(path, json.dumps(run))

    sources = (case.layout.report(case.id), *_tables(case, *_REPORTED))
    return [File(case.layout.tracked_run(case.id), sources, make, optional=_tables(case, "verdicts", "patch_verdicts"))]


def _candidate(case: Case) -> list[File]:
    accepted = gate.accepted(case)
    if accepted is None:
        return []
    sources = (case.layout.tracked_run(case.id), case.layout.table("verdicts", case.id))
    return [File(case.layout.candidate(case.id), sources, partial(gate.register, accepted))]


def _version(treatment: str) -> int:
    """The version of a treatment's code. That of a search rises with those of the treatments that it evaluates."""
    tried = EVALUATED if treatment == "auto" else ()
    return TREATMENTS[treatment].version + sum(TREATMENTS[name].version - 1 for name in tried)


def _steps() -> tuple[Step, ...]:
    influence = tuple(f"influence_{method}" for method in METHODS)
    repaired = tuple(f"repaired_{treatment}" for treatment in TREATMENTS)
    upstream = ("fisher_diagonal", "failure_partition")

    def needs(treatment: str) -> tuple[str, ...]:
        removes = {"causes", "chosen"} & set(TREATMENTS[treatment].removes)
        return (*upstream, "cross_fit", *influence) if removes else upstream

    return (
        Step("corrupted_dataset", (), _corrupted_dataset),
        Step("base_model", ("corrupted_dataset",), _base_model),
        Step("failure_partition", ("base_model",), _failure_partition),  # first, as it may refuse the case
        Step("fisher_diagonal", ("base_model",), _fisher_diagonal),
        Step("cross_fit", upstream, _cross_fit, optional=True),
        *(
            # 2 for the calibration of P(harmful), which the tables hold.
            Step(
                name,
                (*upstream, "cross_fit") if method == "cross_fit" else upstream,
                partial(_influence, method=method),
                "influence",
                method,
                entry.version + 2,
            )
            for name, (method, entry) in zip(influence, METHODS.items(), strict=True)
        ),
        *(
            Step(
                name,
                needs(treatment),
                partial(repairs.repaired, treatment=treatment),
                "treatment",
                treatment,
                _version(treatment),
            )
            for name, treatment in zip(repaired, TREATMENTS, strict=True)
        ),
        Step("pairs", (*upstream, *influence), _pairs, version=2, optional=True),
        Step("gate_controls", (*upstream, *repaired), _gate_controls, optional=True),
        Step("doubtful_tests", (*upstream, "cross_fit", *repaired, "gate_controls"), _doubtful_tests, optional=True),
        Step(
            "evaluation",
            (*influence, *repaired, "pairs", "gate_controls", "doubtful_tests"),
            _evaluation,
            version=4,
            in_order=True,  # the ledger has the read of the holdout before there is a verdict
        ),
        Step("patch_verdict", ("evaluation",), _patch_verdict, optional=True),
        Step("report", ("evaluation", "patch_verdict"), _report),
        Step("tracked_run", ("report",), _tracked_run),
        Step("candidate", ("tracked_run",), _candidate),
    )


STEPS = _steps()
"""All steps, each after the steps that it needs."""
