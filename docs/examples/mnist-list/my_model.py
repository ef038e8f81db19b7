"""The owner's network."""

from torch import nn


def net() -> nn.Module:
    """Two convolutions and a hidden layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(800, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
