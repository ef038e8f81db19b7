"""The verdict on a model that was made elsewhere: retrained on a patch, or repaired by other means.

It is judged against controls, or compared with the model that it is to replace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.evaluation.judging import Unseen, controls, outcomes, weights_digest
from repair_pipeline.models.user_model import load_weights
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.gate import unseen
from repair_pipeline.pipeline.ledger import add_reads, repaired
from repair_pipeline.pipeline.run import Watch, run_case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.pipeline.weights import read_file
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import save_rows
from repair_pipeline.training.fit import right
from repair_pipeline.types import Examples, Progress

_NEEDED = tuple(
    step for step in STEPS if step.name in ("corrupted_dataset", "base_model", "failure_partition", "fisher_diagonal")
)
"""The steps without which a case has no rows to judge on, and no controls."""


def can_judge(case: Case) -> bool:
    """Whether the store holds everything that a verdict needs, even if the user's files have changed since."""
    return all(file.damaged(step.version) is None for step in _NEEDED for file in step.files(case))


def prepare(case: Case, weights: Mapping[str, Path], watch: Watch) -> None:
    """Run the steps that a verdict needs, where their results are missing.

    Args:
        case: the case.
        weights: safetensors files, by what names them in messages.
        watch: shows the steps.

    Raises:
        InputError: the case cannot be used, or a file is no safetensors file: looked at before anything is made.
        StepError: a step failed.
    """
    for key, path in weights.items():
        read_file(path, key)
    if not can_judge(case):
        run_case(case, watch, steps=_NEEDED)


def judge_elsewhere(case: Case, weights: Path, progress: Progress) -> list[Mapping[str, Any]]:
    """Judge a model of the case's architecture by its gate and store the verdict, one row for each failure group.

    Its controls are the base model fine-tuned with nothing removed, as which rows it left out is not known. The ledger
    has the read before there is a verdict. A case without a gate is judged by the gate's defaults.

    Args:
        weights: a safetensors file.

    Returns:
        The rows of ``judged_models`` that are new.

    Raises:
        InputError: the weights are not those of the case's architecture.
    """
    rule, model = case.spec.gate or Gate(), _model(case, weights, "--model")
    whose = weights_digest(model)

    def judged(view: GroupView, progress: Progress) -> Outcomes:
        made = controls(rule, view.spec.seed, partial(view.task, progress=progress))
        return _outcomes(unseen(view, whose), model, made, progress)

    return _decided(case, whose, weights, None, judged, progress)


def compare(case: Case, new: Path, old: Path | None, progress: Progress) -> list[Mapping[str, Any]]:
    """Compare two models of the case's architecture as they are, and store the verdict, as ``judge_elsewhere`` does.

    No control is made: what is shown holds for these two models, and says nothing about other trainings.

    Args:
        case: gives the unseen rows and the gate.
        new: a safetensors file.
        old: that of the model to replace; None: the case's base model.
        progress: called for each batch of predictions.

    Returns:
        The rows of ``judged_models`` that are new.

    Raises:
        InputError: the weights are not those of the case's architecture, or twice the same; or ``old`` fails on no
            unseen row or on all, or is given for a case that is about some of the failures only.
    """
    model, base = _model(case, new, "NEW"), case.model(case.base_model_path)
    replaced = base if old is None else _model(case, old, "--old")
    whose, compared_with = weights_digest(model), weights_digest(replaced)
    if whose == compared_with:
        other = "the case's base model" if old is None else f"--old, {str(old)!r}"
        raise InputError(f"NEW is {str(new)!r}, which has the same weights as {other}: give two different models")
    missed = (
        None if old is None or compared_with == weights_digest(base) else _missed(case, replaced, str(old), progress)
    )

    def judged(view: GroupView, progress: Progress) -> Outcomes:
        rows = unseen(view, whose)
        rows = rows if missed is None else _split_by(missed, rows)
        return replace(_outcomes(rows, model, [replaced], progress), as_they_are=True)

    return _decided(case, whose, new, compared_with, judged, progress)


def _model(case: Case, weights: Path, key: str) -> nn.Module:
    model = case.untrained(torch.Generator())
    load_weights(model, read_file(weights, key), str(weights))
    return model.eval()


def _decided(
    case: Case,
    whose: str,
    weights: Path,
    compared_with: str | None,
    judged: Callable[[GroupView, Progress], Outcomes],
    progress: Progress,
) -> list[Mapping[str, Any]]:
    """Note the read in the ledger, judge each failure group by ``judged``, and store the verdicts."""
    if not len(case.first_view.partition.remaining):
        raise InputError(
            f"case {case.id} has no remaining rows, as its base model gets none right: there is no verdict"
        )
    rule, base = case.spec.gate or Gate(), repaired(case)
    reads = case.layout.table("holdout_reads", case.id).with_name("judged_models.parquet")
    rows = list[Mapping[str, Any]]()

    def make(path: Path, progress: Progress) -> None:
        add_reads(case, reads, whose)
        groups = [judged(view, progress) for view in case.views]
        decided = judge(rule, groups, case.data.classes, numpy_stream(case.spec.seed, "gate"))
        for view, verdict in zip(case.views, decided, strict=True):
            of = {"weights": whose, "file": str(weights.absolute()), "base": base, "compared_with": compared_with}
            said = {**asdict(verdict), "unjudged": ", ".join(verdict.unjudged), "judged_at": datetime.now(UTC)}
            rows.append({"failure_group": view.group, **of, **said})
        before = read_parquet(path)[0].to_pylist() if path.exists() else []
        this = (whose, base, compared_with)
        others = [row for row in before if (row["weights"], row["base"], row.get("compared_with")) != this]
        save_rows(path, "judged_models", [*others, *rows], notes={})

    file = File(case.layout.table("judged_models", case.id), (), make)
    with threads(case.spec.compute.threads), file.locked():
        file.make(file.path, progress)
    return rows


def _outcomes(rows: Unseen, model: nn.Module, made: Iterable[nn.Module], progress: Progress) -> Outcomes:
    return outcomes(rows, model, (), made, removed=None, counts=True, progress=progress)


def _missed(case: Case, model: nn.Module, file: str, progress: Progress) -> frozenset[str]:
    """The ids of the case's unseen rows that another model than its base gets wrong.

    Raises:
        InputError: it gets none or all of them wrong, or the case is about some of its base model's failures only.
    """
    tests = case.first_view.partition
    if others := len(tests.other_failures):
        raise InputError(
            f"case {case.id} is about {tests.failures} of {tests.failures + others} failures of its base model, so "
            "--old cannot be compared on rows of its own: leave --old out, or give a case about all failures"
        )
    rows = Examples.concat([tests.holdout, tests.remaining])
    wrong = ~right(model, rows, progress).numpy()
    if wrong.all() or not wrong.any():
        raise InputError(
            f"--old is {file!r}, which gets {'all' if wrong.all() else 'none'} of {len(rows)} unseen rows wrong: "
            "give the model that is deployed"
        )
    return frozenset(rows.ids[wrong].tolist())


def _split_by(missed: frozenset[str], rows: Unseen) -> Unseen:
    """The same unseen rows, split by another model's failures: half of both kinds, so the natural mix weighs them.

    The ledger has no reads of remaining rows. Whoever has read the holdout has read them as well.
    """
    every = Examples.concat([rows.holdout, rows.remaining])
    of_holdout, of_remaining = (part.having(missed).double().mean().item() for part in (rows.holdout, rows.remaining))
    wrong = every.having(missed)
    return Unseen(
        every[wrong],
        every[~wrong],
        rows.share * of_holdout + (1 - rows.share) * of_remaining,
        np.full(int(wrong.sum()), rows.read.any()),
        rows.times,
    )
