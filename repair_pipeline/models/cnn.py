"""The paper's small CNN (App. C)."""

import torch
from torch import nn


def cnn(channels: int, classes: int) -> nn.Module:
    """Four 3×3 convolutions with ReLU (32, 32, 64, 64 kernels), global average pooling, one linear layer.

    Deviation: App. C says neither the padding nor where "after the first two convolution layers" pools; padding is 1
    and 2×2 max-pooling follows the first and the second convolution (docs/adr/0003). It stands before their ReLU: the
    function is the same, with a quarter of the work.
    """

    def convolution(into: int, out: int) -> nn.Module:
        return nn.Conv2d(into, out, kernel_size=3, padding=1)

    return nn.Sequential(
        convolution(channels, 32),
        nn.MaxPool2d(2),
        nn.ReLU(),
        convolution(32, 32),
        nn.MaxPool2d(2),
        nn.ReLU(),
        convolution(32, 64),
        nn.ReLU(),
        convolution(64, 64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
        # Convolutions on a CPU run about twice as fast in this layout; the function computed is the same.
    ).to(memory_format=torch.channels_last)
