"""A small network for vectors, such as features of sentences."""

from torch import nn


def mlp(features: int, classes: int) -> nn.Module:
    """One hidden layer of 128 units with ReLU.

    Args:
        features: length of an input, which is flattened.
        classes: number of outputs.
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, classes))
