"""A package of somebody else's that brings an influence method, a treatment, a likelihood and a data set of its own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from repair_pipeline.datasets.ids import content_ids
from repair_pipeline.datasets.protocol import KnownDataset
from repair_pipeline.influence.protocol import Method
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.protocol import Recipe
from repair_pipeline.types import Causes, Dataset, Examples, InfluenceScores


class Norm:
    """Rows with the largest inputs first."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        sizes = torch.cat([batch.inputs.flatten(1).norm(dim=1) for batch in task.fit.batches(64)])
        return InfluenceScores(task.fit.ids, sizes.double(), unit="none", neutral=None)


class Shrunk:
    """The model with its parameters a little smaller."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return task.classifier.module(task.theta_hat * (1 - len(causes) / 10_000)).eval()


def one_output(outputs: Tensor) -> Tensor:
    """log(p / (1 − p)) of class 1, from a model with a single output."""
    return torch.cat([torch.zeros_like(outputs), outputs], dim=1)


def two_gaussians(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    """Two classes around (−1, −1) and (1, 1), which overlap; 400 test rows."""
    labels = rng.integers(0, 2, train_size + 400)
    inputs = rng.normal(2.0 * labels[:, None] - 1.0, 1.0, (len(labels), 2)).astype(np.float32)
    rows = Examples(content_ids(inputs), torch.from_numpy(inputs), torch.from_numpy(labels))
    return Dataset(
        train=rows[torch.arange(train_size)],
        test=rows[torch.arange(train_size, len(rows))],
        classes=("lower", "upper"),
        mean=torch.zeros(2),
        features=("across", "up"),
    )


def perceptron() -> nn.Module:
    """A network with a single output."""
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


norm = Method(Norm, "rows with the largest inputs rank first", "baseline")
shrunk = Recipe(Shrunk, removes=("causes", "nothing"), of_rows="shrinking by {rows}", alone="shrinking by nothing")
bernoulli = Likelihood(one_output, "Bernoulli: a single output, the log-odds of the second of two classes")
gaussians = KnownDataset(two_gaussians, "two Gaussians in the plane, which overlap")
