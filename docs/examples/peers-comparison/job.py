"""The job: a trained network, its training rows, of which 30% are mislabelled, its failures, and other rows."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

Rows = tuple[Tensor, Tensor]


@dataclass
class Job:
    """What every library is given."""

    model: nn.Module
    train: Rows
    validation: Rows
    """As noisy as the training rows; only repair_pipeline asks for some, and none of its scores here reads them."""
    failures: Rows
    guard: Rows
    planted: Tensor
    """Which training rows carry a wrong label."""


def digits() -> tuple[Rows, Rows, nn.Module, int]:
    """sklearn's digits and a network with one hidden layer."""
    x, y = load_digits(return_X_y=True)
    rows = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    shuffled = torch.randperm(len(y))
    rows = rows[0][shuffled], rows[1][shuffled]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return (rows[0][:1000], rows[1][:1000]), (rows[0][1000:], rows[1][1000:]), model, 900


def mnist() -> tuple[Rows, Rows, nn.Module, int]:
    """1,000 training rows and 1,500 test rows of MNIST, and a small convolutional network."""
    from torchvision.datasets import MNIST

    found = []
    for train, count in ((True, 1100), (False, 1500)):
        data = MNIST(Path(os.environ.get("REPAIR_DATA_DIR", "data")), train=train)
        at = torch.randperm(len(data))[:count]
        found.append((data.data[at][:, None].float() / 255, data.targets[at]))
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    return found[0], found[1], model, 1000


def job(make: str, seed: int) -> Job:
    """Plant wrong labels, train, and split the test rows as the library's page does."""
    torch.manual_seed(seed)
    (x, y), test, model, size = {"digits": digits, "mnist": mnist}[make]()
    planted = torch.zeros(len(y), dtype=torch.bool)
    for part in (range(size), range(size, len(y))):
        chosen = torch.tensor(part)[torch.randperm(len(part))[: round(0.3 * len(part))]]
        planted[chosen] = True
    noisy = torch.where(planted, (3 * y + 1) % 10, y)
    train, validation = (x[:size], noisy[:size]), (x[size:], noisy[size:])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        for at in torch.randperm(size).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(train[0][at]), train[1][at]).backward()
            optimiser.step()
    model.eval().requires_grad_(True)
    with torch.no_grad():
        wrong = model(test[0]).argmax(1) != test[1]

    def half(mask: Tensor) -> Rows:
        at = mask.nonzero()[::2, 0]
        return test[0][at], test[1][at]

    return Job(model, train, validation, half(wrong), half(~wrong), planted[:size])
