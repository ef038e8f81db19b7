"""Training a model as the base model was trained, on other rows or labels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, Progress, silent


def trained_anew(
    task: RepairTask,
    rows: Examples,
    validation: Examples,
    targets: Float[Tensor, "n k"] | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """A newly initialised model, trained on ``rows`` by the case's training.

    If only a part of the parameters is adapted, training starts from θ̂ instead, since the rest of an untrained model
    would stay untrained.

    Args:
        task: gives model, training and random stream.
        rows: n training rows.
        validation: rows for early stopping.
        targets: soft labels in place of the labels of ``rows``.
        progress: called as training advances.
    """
    partial = task.classifier.partial
    return task.training.fit(
        task.classifier.module(task.theta_hat) if partial else task.untrained(task.generator),
        rows,
        validation,
        task.generator,
        start="trained" if partial else "new",
        targets=targets,
        progress=progress,
    )
