"""Small float64 problems whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import Schedule
from repair_pipeline.types import Examples, QuerySide


def examples(inputs: Tensor, labels: Tensor, prefix: str = "z") -> Examples:
    """Examples with readable ids."""
    return Examples(np.array([f"{prefix}{at:03d}" for at in range(len(inputs))]), inputs, labels)


@dataclass(frozen=True)
class LinearGaussian:
    """log N(y | xθ, noise²): conjugate, so every posterior is known. Inputs are (x, y); labels are not used."""

    noise: float

    def __call__(self, theta: Tensor, z: Examples) -> Tensor:
        residual = (z.inputs[:, -1] - z.inputs[:, :-1] @ theta) / self.noise
        return -0.5 * residual.square() - np.log(self.noise * np.sqrt(2 * np.pi))

    def gradients(self, theta: Tensor, z: Examples) -> Tensor:
        x, y = z.inputs[:, :-1], z.inputs[:, -1]
        return (y - x @ theta)[:, None] * x / self.noise**2


def regression(count: int, seed: int, features: int = 3) -> Examples:
    """Rows for LinearGaussian."""
    inputs = torch.randn(count, features + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return examples(inputs, torch.zeros(count, dtype=torch.int64), prefix=f"s{seed}-")


def blobs(count: int, seed: int, features: int = 4, classes: int = 3) -> Examples:
    """Classes around distinct centres, overlapping, in random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, features, dtype=torch.float64, generator=torch.Generator().manual_seed(99))
    inputs = centres[labels] + torch.randn(count, features, dtype=torch.float64, generator=generator)
    return examples(inputs, labels, prefix=f"s{seed}-")


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in float64 with parameters of its own, whatever was drawn before."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return module


def logistic(features: int = 4, classes: int = 3) -> nn.Module:
    """Multinomial logistic regression, whose gradients are known by hand."""
    return seeded(nn.Linear(features, classes))


CORNERS = torch.tensor([[-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0], [2.0, -2.0]], dtype=torch.float64)
"""Centres of classes 0, 1 and 2; the fourth is class 0 again, and most training rows there are labelled 1."""


def _corner(number: int, count: int, generator: torch.Generator) -> Tensor:
    return CORNERS[number] + 0.3 * torch.randn(count, 2, dtype=torch.float64, generator=generator)


def _network(generator: torch.Generator) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return model


def repair_task() -> RepairTask:
    """A network that fails in one corner, because most training rows there, copies of failures, are mislabelled."""
    generator = torch.Generator().manual_seed(1)
    corners = [_corner(number, 100, generator) for number in range(3)]
    failing = _corner(3, 80, generator)
    mislabelled, rightly = failing[:24], failing[40:52]
    inputs = torch.cat([*(corner[:60] for corner in corners), mislabelled, rightly])
    labels = torch.cat([torch.arange(3).repeat_interleave(60), torch.ones(24), torch.zeros(12)]).long()
    order = torch.randperm(len(inputs), generator=generator)
    rows = examples(inputs[order], labels[order], prefix="train")
    planted = frozenset(rows.ids[((order >= 180) & (order < 204)).numpy()].tolist())
    validation = torch.cat([*(corner[60:66] for corner in corners), failing[52:56]])
    validation_labels = torch.cat([torch.arange(3).repeat_interleave(6), torch.zeros(4)]).long()
    guard = torch.cat([corner[66:] for corner in corners])
    task = RepairTask(
        classifier=Classifier(_network(generator)),
        fisher=torch.zeros(0, dtype=torch.float64),
        log_lik_hat=torch.zeros(0, dtype=torch.float64),
        fit=rows,
        validation=examples(validation, validation_labels, "validation"),
        tests=QuerySide(
            query=examples(failing[:24], torch.zeros(24).long(), "query"),
            query_tuning=examples(failing[56:62], torch.zeros(6).long(), "tuning"),
            guard=examples(guard, torch.arange(3).repeat_interleave(34), "guard"),
        ),
        truth=planted,
        training=Schedule(learning_rate=0.02, batch_size=64, max_epochs=60, patience=60),
        untrained=_network,
        generator=generator,
    )
    base = task.training.fit(_network(generator), rows, rows, generator, start="new")
    classifier = Classifier(base)
    return replace(
        task,
        classifier=classifier,
        fisher=fisher_diagonal(classifier, classifier.theta_hat, rows),
        log_lik_hat=log_likelihoods(classifier, classifier.theta_hat, rows),
    )
