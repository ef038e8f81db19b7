"""``RepairProblem``: a trained model, its training rows and its failures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from repair_pipeline.compute.bars import bar
from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.partition import with_tuning
from repair_pipeline.library.holdout import Holdouts, require_outcome
from repair_pipeline.library.rows import Part, Reader, Source, examples_of
from repair_pipeline.likelihoods.likelihoods import Given
from repair_pipeline.likelihoods.likelihoods import likelihood as likelihood_given
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.reading import off, precision, with_logits
from repair_pipeline.models.copying import copied
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.problem.task import RepairTask, in_fair_order
from repair_pipeline.training.fit import Schedule, logits
from repair_pipeline.training.function import TrainingFunction
from repair_pipeline.training.protocol import Training, seeded
from repair_pipeline.training.recipe import UserRecipe
from repair_pipeline.types import PADDING, Examples, LabelForm, Progress, QuerySide, Role


class RepairProblem:
    """A model that fails, and all data that may be used to repair it.

    Rows are given as ``(x, y)`` or ``(x, y, ids)`` of tensors or arrays with x of shape (n, ...) and y of n class
    numbers, as a torch ``Dataset`` or ``DataLoader`` of such, or as the path of a Parquet or CSV file or of a folder of
    images. They are read once into memory; floats are converted to the dtype of the model's parameters, integers stay
    integers. The model is copied; the parameters of the copy that require a gradient are adapted, on the model's
    device.

    Args:
        model: a trained model that returns one logit per class, or what its ``likelihood`` reads.
        train: the rows it was trained on. All but the validation rows are scored: D, N rows.
        failures: rows that it gets wrong, with their correct labels: F_q.
        guard: rows that it gets right and must keep right. Most methods learn them together with the failures.
        validation: rows for early stopping, with as many wrong labels as the training rows. None: a random tenth of
            ``train``, stratified by class, which is then not scored.
        tuning: failures for early stopping and for choosing settings. None: a random tenth of ``failures``, at least
            one.
        classes: class names, in the order of the model's outputs. None: the names in the file, or the class numbers.
        likelihood: what the task is: p(z|θ) of the model's outputs, by name, as in a case file with its settings
            (``{"gaussian": {"tolerance": 0.5}}``), or as an instance. With another likelihood than softmax the model
            returns what that likelihood expects instead of one logit per class. Then y is: of a regression n numbers;
            of ``multi_label`` (n, k) truth values; of ``token_classification`` (n, t) class numbers and of
            ``causal_lm`` (n, t) tokens, each the one that follows, with −100 where there is none.
        columns: columns of files, by the keys of a case's data: label, features, image, id, metadata, transform.
        corrupted: ids of training rows that are known to be wrong. Only ``oracle`` and ``semi_oracle`` read them.
        untrained: returns a new, untrained model, for treatments that train from scratch.
        training: how the model is trained, for all treatments that train: ``rp.training.UserRecipe``, or a function
            ``train(model, train, validation, *, seed, device, progress)`` that returns the trained model
            (``docs/how-to/recipe.md``), or ``rp.training.Schedule``. None: the last, App. C's scheme.
        seed: of all random draws. The same seed gives the same numbers.
        progress: called with (done, total) instead of showing a progress bar in a terminal or a notebook.

    Raises:
        InputError: the rows or the model cannot be used. The message says why and what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Source,
        *,
        failures: Source,
        guard: Source | None = None,
        validation: Source | None = None,
        tuning: Source | None = None,
        classes: Sequence[str] | None = None,
        likelihood: Given | Likelihood = "softmax",
        columns: Mapping[str, Any] | None = None,
        corrupted: Iterable[str] = (),
        untrained: Callable[[], nn.Module] | None = None,
        training: Schedule | UserRecipe | Callable[..., nn.Module] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model is {type(model).__name__}: give a trained torch.nn.Module that returns one logit per class"
            )
        self.seed, self._untrained, self._progress = seed, untrained, progress
        self.training = _training(training)
        """How models are trained."""
        self.likelihood = likelihood if isinstance(likelihood, Likelihood) else likelihood_given(likelihood)
        """p(z|θ) of the outputs of the problem's models."""
        model = copied(model)
        self._reader = Reader(columns or {}, classes, precision(model), seed, self.likelihood.form)
        sources = {"train": train, "validation": validation, "failures": failures, "tuning": tuning, "guard": guard}
        parts = {"train": self._reader("train", sources.pop("train"))}
        if self.likelihood.form not in (LabelForm.NUMBER, LabelForm.COMPLETION) and not self._reader.classes:
            self._reader.classes = _class_numbers(model, parts["train"], self.likelihood)
        self.classes = self._reader.classes or ()
        """Class names, in the order of the model's outputs; empty if labels are numbers or completions."""
        self._example = parts["train"].inputs[:3]
        self.classifier = Classifier(self.with_logits(model))
        """log p(z|θ), and the model's parameters θ̂."""
        self.base = self.classifier.module(self.classifier.theta_hat)
        """A copy of the given model, in eval mode; it returns logits."""
        parts |= {where: self._reader(where, source) for where, source in sources.items() if source is not None}
        rows = examples_of(parts)
        for where, part in rows.items():
            self._require_labels(where, part)
        require_fitting(self.base, rows["train"], self.classes)
        for where, right in (("failures", False), ("tuning", False), ("guard", True)):
            if where in rows:
                require_outcome(self.base, where, rows[where], right)
        self.positions, self.fit, self.validation = _fit_and_validation(rows, seed)
        fitted = self.likelihood.fitted(logits(self.base, self.validation), self.validation.labels)
        if fitted is not self.likelihood:  # from here on with what it has learnt from the model's errors
            self.likelihood = fitted
            self.classifier = Classifier(self.with_logits(off(self.base)))
            self.base = self.classifier.module(self.classifier.theta_hat)
        self.tests = in_fair_order(_query_side(rows, seed), seed)
        self.corrupted = frozenset(map(str, corrupted))
        if unknown := self.corrupted - set(rows["train"].ids.tolist()) - set(self.validation.ids.tolist()):
            raise InputError(
                f"corrupted has {len(unknown)} ids that no training row has, such as {min(unknown)!r}: correct them"
            )
        self.holdouts = Holdouts({where: frozenset(part.digests) for where, part in parts.items()})
        self._fisher_and_log_lik: tuple[torch.Tensor, torch.Tensor] | None = None

    def read(self, where: str, source: Source) -> Part:
        """Read more rows, with the same columns and classes as the problem's.

        Args:
            where: name of the part, for messages.
            source: rows of any kind that the problem takes.

        Raises:
            InputError: the rows cannot be used.
        """
        part = self._reader(where, source)
        self._require_labels(where, examples_of({where: part})[where])
        return part

    def _require_labels(self, where: str, rows: Examples) -> None:
        if self.classes:
            _require_labels(where, rows, len(self.classes))

    def task(self, step: str, progress: Progress, role: Role = "repair") -> RepairTask:
        """All that a method may read. The first call computes the Fisher, which costs a gradient pass over D.

        Args:
            step: name of the random stream.
            progress: called with (done, total).
            role: of the method: only a ``reference`` may read which rows are corrupted.
        """
        theta = self.classifier.theta_hat
        if self._fisher_and_log_lik is None:
            fisher = fisher_diagonal(self.classifier, theta, self.fit, progress=progress)
            self._fisher_and_log_lik = fisher, log_likelihoods(self.classifier, theta, self.fit)
        return RepairTask(
            classifier=self.classifier,
            fisher=self._fisher_and_log_lik[0],
            log_lik_hat=self._fisher_and_log_lik[1],
            fit=self.fit,
            validation=self.validation,
            tests=self.tests,
            truth=self.corrupted if role == "reference" else None,
            training=self.training,
            untrained=self._new_model,
            generator=torch_stream(self.seed, step),
            progress=progress,
        )

    @contextmanager
    def watched(self, title: str) -> Iterator[Progress]:
        """The problem's progress callback, or a progress bar with a title if it has none."""
        with warnings.catch_warnings():
            # torch raises this warning in its own code when forward mode is first used. A user cannot act on it.
            warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
            if self._progress is not None:
                yield self._progress
                return
            with bar(Console(), title) as progress:
                yield progress

    def _new_model(self, generator: torch.Generator) -> nn.Module:
        if self._untrained is None:
            raise InputError(
                "a new model must be trained, but the problem has no untrained=: give RepairProblem a function "
                "that returns the untrained model, such as untrained=lambda: Net()"
            )
        with seeded(generator):
            return self.with_logits(self._untrained().to(self.classifier.theta_hat))

    def with_logits(self, model: nn.Module) -> nn.Module:
        """Make a model read the problem's inputs and return logits, in place; returns the same model."""
        return with_logits(model, self._example, len(self.classes), self.likelihood)

    def __repr__(self) -> str:
        query, tuning, guard = map(len, (self.tests.query, self.tests.query_tuning, self.tests.guard))
        return (
            f"RepairProblem: {len(self.fit)} training rows and {len(self.validation)} for validation, "
            f"{query} failures and {tuning} for tuning, {guard} guard rows, "
            + (f"{len(self.classes)} classes" if self.classes else f"labels are {self.likelihood.form.value}s")
        )


def _training(given: Schedule | UserRecipe | Callable[..., nn.Module] | None) -> Training:
    if given is None:
        return Schedule()
    if isinstance(given, UserRecipe):
        return given.resolved(Path.cwd())
    if isinstance(given, Schedule):
        return given
    if not callable(given):
        raise InputError(
            f"training is a {type(given).__name__}: give rp.training.UserRecipe, rp.training.Schedule or a function"
        )
    return TrainingFunction(given, getattr(given, "__name__", str(given)))


def _class_numbers(model: nn.Module, train: Part, likelihood: Likelihood) -> tuple[str, ...]:
    """The numbers of the model's outputs, as class names."""
    count = int(train.labels.max()) + 1
    tried = with_logits(copied(model), train.inputs[:3], max(count, 2), likelihood).eval()
    try:
        with torch.no_grad():
            count = tried(train.inputs[:2].to(next(model.parameters()).device)).shape[-1]
    except Exception:  # the rows do not fit the model; the check that follows reports how
        pass
    return tuple(map(str, range(count)))


def _require_labels(where: str, rows: Examples, classes: int) -> None:
    form = LabelForm.of(rows.labels)
    if form is LabelForm.SET:
        if rows.labels.shape[1] != classes:
            raise InputError(
                f"{where} has labels of {rows.labels.shape[1]} classes, but the model has {classes}: give a column each"
            )
        return
    outside = (rows.labels < 0) | (rows.labels >= classes)
    if form is LabelForm.TAGS:
        outside &= rows.labels != PADDING
    if outside.any():
        raise InputError(
            f"{where} has the label {int(rows.labels[outside][0])} ({int(outside.sum())} rows are out of range), but "
            f"the model has {classes} classes, 0 to {classes - 1}: correct or drop these rows"
        )


def _fit_and_validation(rows: Mapping[str, Examples], seed: int) -> tuple[np.ndarray, Examples, Examples]:
    """Positions of the scored rows in ``train``, the scored rows, and the validation rows."""
    train = rows["train"]
    if "validation" in rows:
        if not len(rows["validation"]):
            raise InputError("validation has no rows: give at least one, or leave it out")
        return np.arange(len(train)), train, rows["validation"]
    fit, validation = stratified_split(train.labels, 0.1, numpy_stream(seed, "validation"))
    if not len(validation):
        raise InputError(f"{len(train)} training rows are too few to set a tenth of each class aside: give validation=")
    return fit.numpy(), train[fit], train[validation]


def _query_side(rows: Mapping[str, Examples], seed: int) -> QuerySide:
    failures = rows["failures"]
    query_side = QuerySide(failures, rows.get("tuning", failures[:0]), rows.get("guard", failures[:0]))
    if "tuning" in rows:
        return query_side
    if len(failures) < 2:
        raise InputError(
            f"only {len(failures)} failure is given, and one is set aside for tuning: give two or more, or give tuning="
        )
    order = numpy_stream(seed, "tuning").permutation(len(failures))
    tuning, query = (failures[torch.from_numpy(np.sort(rows))] for rows in with_tuning(order))
    return replace(query_side, query=query, query_tuning=tuning)
