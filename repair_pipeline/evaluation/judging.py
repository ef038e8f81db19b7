"""Judging a model on unseen rows: the one place where the gate's holdout is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.datasets.ids import digest
from repair_pipeline.evaluation.gate import Gate, Outcomes, Verdict, judge
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment.control import control
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Examples, Progress


@dataclass(frozen=True, eq=False)
class Unseen:
    """The rows that a verdict rests on, and who has read them before."""

    holdout: Examples
    """Failures of the base model."""
    remaining: Examples
    """Rows that the base model gets right."""
    share: float
    """Of failures among the test rows: the natural mix."""
    read: Bool[np.ndarray, " h"]
    """The holdout rows that an earlier repair was judged on. They do not count, unless all of them were read."""
    times: int
    """How many repairs read any of them."""


def judged(
    rule: Gate,
    unseen: Unseen,
    repaired: nn.Module,
    controls: Iterable[nn.Module],
    *,
    removed: int | None,
    classes: Sequence[str],
    seed: int,
    progress: Progress,
) -> Verdict:
    """The gate's verdict on a model.

    Args:
        controls: one at a time, so that a single one need be in memory.
        removed: training rows that the repair removed; None for a model made elsewhere, of which that is not known.
        seed: of the gate's bootstrap.
    """

    def right(model: nn.Module, rows: Examples) -> Bool[np.ndarray, " n"]:
        return (predictions(model, rows, progress) == rows.labels).numpy()

    reused = bool(unseen.read.all())
    unread = unseen.holdout if reused else unseen.holdout[torch.from_numpy(~unseen.read)]
    outcomes = Outcomes(
        repaired_holdout=right(repaired, unread),
        controls_holdout=np.stack([right(control, unread) for control in controls]),
        repaired_remaining=right(repaired, unseen.remaining),
        remaining_labels=unseen.remaining.labels.numpy(),
        share=unseen.share,
        removed=removed,
        reused=unseen.times if reused else 0,
    )
    return judge(rule, outcomes, classes, numpy_stream(seed, "gate"))


def controls(
    rule: Gate, seed: int, task: Callable[[str], RepairTask], treatment: Treatment | None = None, removed: int = 0
) -> Iterator[nn.Module]:
    """What a model must beat, one at a time: ``treatment`` of as many random rows.

    Of a model made elsewhere neither is known: its controls are the base model fine-tuned with nothing removed.
    """
    chosen = treatment or Finetune()
    return (control(number, chosen, removed, seed, task) for number in range(rule.controls))


def weights_digest(model: nn.Module) -> str:
    """16 hex digits of the model's tensors: the same weights have the same, whatever their file calls them."""
    tensors = (tensor.detach().cpu().contiguous().reshape(-1) for tensor in model.state_dict().values())
    return digest(b"".join(tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors))
