"""A trained model, its training rows and its failures: what scores, repairs and verdicts are of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.problem.task import RepairTask, in_fair_order
from repair_pipeline.training.fit import Schedule
from repair_pipeline.types import Examples, Progress, QuerySide, Role


class RepairProblem:
    """A model that fails, and all that may be read to repair it.

    Rows are ``(x, y)`` or ``(x, y, ids)`` of tensors or arrays, a torch ``Dataset`` or ``DataLoader``, or the path of a
    Parquet or CSV file or of a folder of images. They are read once, into memory, as the model's kind of float; the
    model is copied, and its parameters that require a gradient are adapted, on its device.

    Args:
        model: a trained classifier that returns a logit for every class.
        train: what it was trained on. N rows of them, all but the validation rows, are scored.
        failures: rows that it gets wrong, with their right labels: F_q.
        guard: rows that it gets right and that are to stay so; most methods learn them beside the failures.
        validation: rows for early stopping, as noisy as the training rows. None: a seeded tenth of ``train``, of every
            class, which is then not scored.
        tuning: failures for stopping and choosing. None: a seeded tenth of ``failures``, one at least.
        classes: their names, in the order of the model's outputs. None: as the file has them, or their numbers.
        likelihood: how its outputs are read, by name or as it is. Under another than softmax the model may return what
            the likelihood reads in the place of a logit a class.
        columns: of files, by the keys of a case's data: label, features, image, id, metadata, transform.
        corrupted: ids of training rows that are known to be wrong, which ``oracle`` and ``semi_oracle`` alone read.
        untrained: makes a new, untrained model, for what trains one from scratch.
        seed: of all that is drawn: the same gives the same numbers.
        progress: called with (done, total) instead of showing a bar in a terminal or a notebook.

    Raises:
        InputError: rows or model cannot be used; says what, and what to do.
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
        likelihood: str | Likelihood = "softmax",
        columns: Mapping[str, Any] | None = None,
        corrupted: Iterable[str] = (),
        untrained: Callable[[], nn.Module] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.seed, self._untrained, self._progress = seed, untrained, progress
        self.likelihood = LIKELIHOODS.named(likelihood) if isinstance(likelihood, str) else likelihood
        """How outputs of its models are read."""
        self.classifier = Classifier(model, self.likelihood)
        """log p(z|θ), and the model's parameters θ̂."""
        self.base = self.classifier.module(self.classifier.theta_hat)
        """The model as it was given, in eval mode; it returns logits."""
        self._read = Reader(columns or {}, classes, self.classifier.theta_hat.dtype, seed)
        given = {"train": train, "validation": validation, "failures": failures, "tuning": tuning, "guard": guard}
        parts = {"train": self._read("train", given.pop("train"))}
        self.classes = self._read.classes = self._read.classes or _numbered(self.base, parts["train"])
        """Their names, in the order of the model's outputs."""
        parts |= {where: self._read(where, source) for where, source in given.items() if source is not None}
        rows = examples_of(parts)
        for where, part in rows.items():
            _require_labels(where, part, len(self.classes))
        require_fitting(self.base, rows["train"], self.classes)
        for where, right in (("failures", False), ("tuning", False), ("guard", True)):
            if where in rows:
                require_outcome(self.base, where, rows[where], right)
        self.positions, self.fit, self.validation = _fit_and_validation(rows, seed)
        self.tests = in_fair_order(_query_side(rows, seed), seed)
        self.corrupted = frozenset(map(str, corrupted))
        if unknown := self.corrupted - set(rows["train"].ids.tolist()) - set(self.validation.ids.tolist()):
            raise InputError(f"corrupted has {len(unknown)} ids of no training row, {min(unknown)!r} the first")
        self.holdouts = Holdouts({where: frozenset(part.digests) for where, part in parts.items()})
        self._measured: tuple[torch.Tensor, torch.Tensor] | None = None

    def read(self, where: str, source: Source) -> Part:
        """More rows, of the same columns and classes; ``where`` is what messages call them.

        Raises:
            InputError: they cannot be used.
        """
        part = self._read(where, source)
        _require_labels(where, examples_of({where: part})[where], len(self.classes))
        return part

    def task(self, step: str, progress: Progress, role: Role = "repair") -> RepairTask:
        """All that a method of a role may read, with the random stream of ``step``. The first costs a gradient pass."""
        theta = self.classifier.theta_hat
        if self._measured is None:
            fisher = fisher_diagonal(self.classifier, theta, self.fit, progress=progress)
            self._measured = fisher, log_likelihoods(self.classifier, theta, self.fit)
        return RepairTask(
            classifier=self.classifier,
            fisher=self._measured[0],
            log_lik_hat=self._measured[1],
            fit=self.fit,
            validation=self.validation,
            tests=self.tests,
            truth=self.corrupted if role == "reference" else None,
            schedule=Schedule(),
            untrained=self._new_model,
            generator=torch_stream(self.seed, step),
            progress=progress,
        )

    @contextmanager
    def watched(self, title: str) -> Iterator[Progress]:
        """The callback that was given, or a bar for whoever can see one."""
        with warnings.catch_warnings():
            # torch says so itself as it enters forward mode for the first time; there is nothing that a user could do.
            warnings.filterwarnings("ignore", message="`torch.jit.script` is deprecated", category=FutureWarning)
            if self._progress is not None:
                yield self._progress
                return
            with bar(Console(), title) as progress:
                yield progress

    def _new_model(self, generator: torch.Generator) -> nn.Module:
        if self._untrained is None:
            raise InputError(
                "a new model is to be trained, and the problem has no untrained=: give RepairProblem a function "
                "that makes the model before training, such as untrained=lambda: Net()"
            )
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return self.likelihood.on(self._untrained().to(self.classifier.theta_hat))

    def __repr__(self) -> str:
        query, tuning, guard = map(len, (self.tests.query, self.tests.query_tuning, self.tests.guard))
        return (
            f"RepairProblem: {len(self.fit)} training rows and {len(self.validation)} for validation, "
            f"{query} failures and {tuning} for tuning, {guard} guard rows, {len(self.classes)} classes"
        )


def _numbered(model: nn.Module, train: Part) -> tuple[str, ...]:
    """A class for each output, by its number."""
    try:
        with torch.no_grad():
            count = model(train.inputs[:2].to(next(model.parameters()).device)).shape[-1]
    except Exception:  # the rows do not fit the model: the check that follows says how
        count = int(train.labels.max()) + 1
    return tuple(map(str, range(count)))


def _require_labels(where: str, rows: Examples, classes: int) -> None:
    outside = (rows.labels < 0) | (rows.labels >= classes)
    if outside.any():
        raise InputError(
            f"{where} has the label {int(rows.labels[outside][0])} in {int(outside.sum())} rows, the model gives "
            f"{classes} classes, 0 to {classes - 1}: mend or drop them"
        )


def _fit_and_validation(rows: Mapping[str, Examples], seed: int) -> tuple[np.ndarray, Examples, Examples]:
    """Positions in train of the rows that are scored, these rows, and the validation rows."""
    train = rows["train"]
    if "validation" in rows:
        if not len(rows["validation"]):
            raise InputError("validation holds no row: give one that does, or leave it out")
        return np.arange(len(train)), train, rows["validation"]
    fit, validation = stratified_split(train.labels, 0.1, numpy_stream(seed, "validation"))
    if not len(validation):
        raise InputError(
            f"a tenth of {len(train)} training rows leaves none of any class to validate: give validation="
        )
    return fit.numpy(), train[fit], train[validation]


def _query_side(rows: Mapping[str, Examples], seed: int) -> QuerySide:
    failures = rows["failures"]
    side = QuerySide(failures, rows.get("tuning", failures[:0]), rows.get("guard", failures[:0]))
    if "tuning" in rows:
        return side
    if len(failures) < 2:
        raise InputError(f"{len(failures)} failure is given, and one is set aside for tuning: give two, or tuning=")
    order = numpy_stream(seed, "tuning").permutation(len(failures))
    tuning, query = (failures[torch.from_numpy(np.sort(at))] for at in with_tuning(order))
    return replace(side, query=query, query_tuning=tuning)
