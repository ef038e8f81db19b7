"""Which unseen rows a repair and its controls get right: the one place where the gate's holdout is read."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool
from torch import nn

from repair_pipeline.evaluation.gate import Outcomes
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples, Progress, silent


def outcomes_of(
    repaired: nn.Module,
    controls: Iterable[nn.Module],
    holdout: Examples,
    remaining: Examples,
    *,
    share: float,
    removed: int | None,
    read: Bool[np.ndarray, " h"],
    times: int,
    progress: Progress = silent,
) -> Outcomes:
    """What the gate judges by.

    Args:
        controls: one at a time, so that a single one need be in memory.
        share: of failures among the test rows.
        removed: training rows that the repair removed; None where that is not known.
        read: the holdout rows that an earlier repair was judged on. They do not count, unless all of them were read.
        times: how many repairs read any of them.
    """

    def right(model: nn.Module, rows: Examples) -> Bool[np.ndarray, " n"]:
        return (predictions(model, rows, progress) == rows.labels).numpy()

    reused = bool(read.all())
    unread = holdout if reused else holdout[torch.from_numpy(~read)]
    return Outcomes(
        repaired_holdout=right(repaired, unread),
        controls_holdout=np.stack([right(control, unread) for control in controls]),
        repaired_remaining=right(repaired, remaining),
        remaining_labels=remaining.labels.numpy(),
        share=share,
        removed=removed,
        reused=times if reused else 0,
    )
