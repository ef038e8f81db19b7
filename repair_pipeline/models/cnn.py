"""The paper's small CNN (App. C), and a deeper one for colour images."""

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


def cnn8(channels: int, classes: int) -> nn.Module:
    """Seven 3×3 convolutions, each with batch normalisation and ReLU, pooled to half three times, and one linear layer.

    Ours: of a few thousand CIFAR-10 images it learns more in less time, on a CPU, than a residual network.
    """

    def convolution(into: int, out: int) -> list[nn.Module]:
        return [nn.Conv2d(into, out, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]

    return nn.Sequential(
        *convolution(channels, 24),
        nn.MaxPool2d(2),
        *convolution(24, 48),
        *convolution(48, 48),
        nn.MaxPool2d(2),
        *convolution(48, 96),
        *convolution(96, 96),
        nn.MaxPool2d(2),
        *convolution(96, 128),
        *convolution(128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, classes),
    ).to(memory_format=torch.channels_last)
