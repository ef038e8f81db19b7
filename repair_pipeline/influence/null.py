"""The null of an influence: what it says of cases that the model gets right."""

from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.continual.task import RepairTask
from repair_pipeline.influence.protocol import InfluenceMethod


def null_influence(method: InfluenceMethod, task: RepairTask) -> Float64[Tensor, " n"]:
    """r̃ of every z of D against correctly classified cases instead of failures, as many and of the same classes.

    There is nothing to repair in them, so no row is their cause: how large r̃ gets all the same is chance. They come out
    of the guard pool, whose other cases guard. Where the pool holds fewer of a class, all but one of them are taken.
    """
    labels = task.tests.guard.labels
    healthy = torch.zeros(len(labels), dtype=torch.bool)
    for label, wanted in zip(*task.tests.query.labels.unique(return_counts=True), strict=True):
        of_class = torch.nonzero(labels == label).flatten()
        healthy[of_class[: min(int(wanted), len(of_class) - 1)]] = True
    tests = replace(task.tests, query=task.tests.guard[healthy], guard=task.tests.guard[~healthy])
    return method.scores(replace(task, tests=tests)).values
