"""A package of somebody else's that brings an influence method and a treatment of its own."""

import torch
from torch import nn

from repair_pipeline.continual.task import RepairTask
from repair_pipeline.influence.protocol import Method
from repair_pipeline.treatment.protocol import Recipe
from repair_pipeline.types import Causes, InfluenceScores


class Norm:
    """Rows with the largest inputs first."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        sizes = torch.cat([batch.inputs.flatten(1).norm(dim=1) for batch in task.fit.batches(64)])
        return InfluenceScores(task.fit.ids, sizes.double(), unit="none", neutral=None)


class Shrunk:
    """The model with its parameters a little smaller."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return task.classifier.module(task.theta_hat * (1 - len(causes) / 10_000)).eval()


norm = Method(Norm, "rows with the largest inputs rank first", "baseline")
shrunk = Recipe(Shrunk, removes=("causes", "nothing"), of_rows="shrinking by {rows}", alone="shrinking by nothing")
