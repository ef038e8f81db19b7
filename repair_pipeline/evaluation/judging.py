"""Judging a model on unseen rows; only here does the gate read the holdout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from repair_pipeline.datasets.ids import digest
from repair_pipeline.evaluation.gate import Gate, Outcomes
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import right
from repair_pipeline.treatment.control import control
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Examples, Progress


@dataclass(frozen=True, eq=False)
class Unseen:
    """The rows on which a verdict is based, and whether earlier repairs were judged on them."""

    holdout: Examples
    """Failures of the base model."""
    remaining: Examples
    """Rows that the base model gets right."""
    share: float
    """The share of failures among the test rows: the natural mix."""
    read: Bool[np.ndarray, " h"]
    """Mask of the holdout rows on which earlier repairs were judged. They are skipped, unless all were read."""
    times: int
    """The number of repairs that read any of them."""


def outcomes(
    unseen: Unseen,
    repaired: nn.Module,
    repairs: Iterable[nn.Module],
    controls: Iterable[nn.Module],
    *,
    removed: int | None,
    relabels: bool = False,
    counts: bool,
    progress: Progress,
) -> Outcomes:
    """What the gate reads: which unseen rows the models get right.

    Args:
        unseen: the rows to judge on.
        repaired: the model to judge.
        repairs: the same repair with other seeds, produced one at a time, so that only one is in memory.
        controls: the same.
        removed: number of training rows that the repair removed; None if unknown, for a model made elsewhere.
        relabels: whether the repair, and so each control, gives its rows other labels.
        counts: whether ``repaired`` is one of the repair's seeds: not where it was chosen among other settings, because
            the best of several is better than its own seed's luck would be in a new draw.
        progress: called for each batch of predictions.
    """

    reused = bool(unseen.read.all())
    unread = unseen.holdout if reused else unseen.holdout[torch.from_numpy(~unseen.read)]

    def on_both(model: nn.Module) -> tuple[Bool[np.ndarray, " h"], Bool[np.ndarray, " r"]]:
        return right(model, unread, progress).numpy(), right(model, unseen.remaining, progress).numpy()

    judged = on_both(repaired)
    of_repairs = [*([judged] if counts else []), *map(on_both, repairs)]
    of_controls = list(map(on_both, controls))
    return Outcomes(
        repaired_holdout=judged[0],
        repaired_remaining=judged[1],
        repairs_holdout=np.stack([holdout for holdout, _ in of_repairs]),
        repairs_remaining=np.stack([remaining for _, remaining in of_repairs]),
        controls_holdout=np.stack([holdout for holdout, _ in of_controls]),
        controls_remaining=np.stack([remaining for _, remaining in of_controls]),
        remaining_labels=unseen.remaining.labels.numpy(),
        share=unseen.share,
        removed=removed,
        controls_repair=relabels,
        reused=unseen.times if reused else 0,
    )


def controls(
    rule: Gate, seed: int, task: Callable[[str], RepairTask], treatment: Treatment | None = None, removed: int = 0
) -> Iterator[nn.Module]:
    """The control models, produced one at a time: the repair's treatment with as many random rows removed.

    Args:
        rule: gives the number of controls.
        seed: the case's seed.
        task: gives the repair task with the random stream of a step.
        treatment: the repair's; None if unknown, for a model made elsewhere: fine-tuning.
        removed: number of rows that the repair removed.
    """
    used = treatment or Finetune()
    return (control(number, used, removed, seed, task) for number in range(rule.controls))


def weights_digest(model: nn.Module) -> str:
    """A hash of the model's tensors, 16 hex digits; independent of tensor names."""
    tensors = (tensor.detach().cpu().contiguous().reshape(-1) for tensor in model.state_dict().values())
    return digest(b"".join(tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors))
