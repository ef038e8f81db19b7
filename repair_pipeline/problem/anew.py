"""Training a model as the base model was trained, on other rows or labels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.protocol import Start
from repair_pipeline.types import Examples, Progress, silent


def beginning(task: RepairTask) -> tuple[nn.Module, Start]:
    """What a training of the case's model starts from: a newly initialised model.

    If only a part of the parameters is adapted it is θ̂ instead, since the rest of an untrained model would stay
    untrained.
    """
    if task.classifier.partial:
        return task.classifier.module(task.theta_hat), "trained"
    return task.untrained(task.generator), "new"


def trained_anew(
    task: RepairTask,
    rows: Examples,
    validation: Examples,
    targets: Float[Tensor, "n *k"] | None = None,
    progress: Progress = silent,
) -> nn.Module:
    """A model trained on ``rows`` by the case's training, from its ``beginning``.

    Args:
        task: gives model, training and random stream.
        rows: n training rows.
        validation: rows for early stopping.
        targets: soft labels in place of the labels of ``rows``.
        progress: called as training advances.
    """
    model, start = beginning(task)
    return task.training.fit(model, rows, validation, task.generator, start=start, targets=targets, progress=progress)
