"""The verdict on a model that was made elsewhere: retrained on a patch, or repaired by other means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.evaluation.judging import controls, outcomes, weights_digest
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
from repair_pipeline.types import Progress

_NEEDED = tuple(
    step for step in STEPS if step.name in ("corrupted_dataset", "base_model", "failure_partition", "fisher_diagonal")
)
"""The steps without which a case has no rows to judge on, and no controls."""


def can_judge(case: Case) -> bool:
    """Whether the store holds everything that a verdict needs, even if the user's files have changed since."""
    return all(file.damaged(step.version) is None for step in _NEEDED for file in step.files(case))


def prepare(case: Case, weights: Path, watch: Watch) -> None:
    """Run the steps that a verdict needs, where their results are missing.

    Raises:
        InputError: the case cannot be used, or ``weights`` are no safetensors file: looked at before anything is made.
        StepError: a step failed.
    """
    read_file(weights, "--model")
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
    model = case.untrained(torch.Generator())
    load_weights(model, read_file(weights, "--model"), str(weights))
    model.eval()
    rule, whose, base = case.spec.gate or Gate(), weights_digest(model), repaired(case)
    if not len(case.first_view.partition.remaining):
        raise InputError(
            f"case {case.id} has no remaining rows, as its base model gets none right: there is no verdict"
        )
    reads = case.layout.table("holdout_reads", case.id).with_name("judged_models.parquet")
    rows = list[Mapping[str, Any]]()

    def make(path: Path, progress: Progress) -> None:
        add_reads(case, reads, whose)
        groups = [_outcomes(view, rule, model, whose, progress) for view in case.views]
        decided = judge(rule, groups, case.data.classes, numpy_stream(case.spec.seed, "gate"))
        for view, verdict in zip(case.views, decided, strict=True):
            said = {**asdict(verdict), "unjudged": ", ".join(verdict.unjudged), "judged_at": datetime.now(UTC)}
            rows.append(
                {"failure_group": view.group, "weights": whose, "file": str(weights.absolute()), "base": base, **said}
            )
        before = read_parquet(path)[0].to_pylist() if path.exists() else []
        others = [row for row in before if (row["weights"], row["base"]) != (whose, base)]
        save_rows(path, "judged_models", [*others, *rows], notes={})

    file = File(case.layout.table("judged_models", case.id), (), make)
    with threads(case.spec.compute.threads), file.locked():
        file.make(file.path, progress)
    return rows


def _outcomes(view: GroupView, rule: Gate, model: nn.Module, whose: str, progress: Progress) -> Outcomes:
    return outcomes(
        unseen(view, whose),
        model,
        (),
        controls(rule, view.spec.seed, partial(view.task, progress=progress)),
        removed=None,
        counts=True,
        progress=progress,
    )
