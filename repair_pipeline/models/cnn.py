"""The paper's small CNN (App. C), and two with batch normalisation for colour images."""

import torch
from torch import nn


def cnn(channels: int, classes: int) -> nn.Module:
    """Four 3×3 convolutions with ReLU (32, 32, 64, 64 kernels), global average pooling, one linear layer.

    Deviation: App. C specifies neither the padding nor the exact place of pooling "after the first two convolution
    layers". Here padding is 1, and 2×2 max-pooling follows the first and the second convolution (docs/adr/0003),
    before their ReLU: the function is the same, with a quarter of the work.

    Args:
        channels: of the input images.
        classes: number of outputs.
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
        # Convolutions on a CPU run about twice as fast in this memory layout; the function is the same.
    ).to(memory_format=torch.channels_last)


def cnn8(channels: int, classes: int) -> nn.Module:
    """Seven 3×3 convolutions with batch normalisation and ReLU, three 2×2 max-poolings, and one linear layer.

    Not the paper's: trained on a few thousand CIFAR-10 images on a CPU, it learns more in less time than a ResNet.

    Args:
        channels: of the input images.
        classes: number of outputs.
    """

    return nn.Sequential(
        *_normalised(channels, 24),
        nn.MaxPool2d(2),
        *_normalised(24, 48),
        *_normalised(48, 48),
        nn.MaxPool2d(2),
        *_normalised(48, 96),
        *_normalised(96, 96),
        nn.MaxPool2d(2),
        *_normalised(96, 128),
        *_normalised(128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, classes),
    ).to(memory_format=torch.channels_last)


def cnn_compact(channels: int, classes: int) -> nn.Module:
    """Three 3×3 convolutions (32, 64, 64 kernels) with batch normalisation on 2×2 patches, and one linear layer.

    Not the paper's: a network as an owner with two cores would train on some ten thousand CIFAR-10 images.

    Args:
        channels: of the input images, whose height and width are even.
        classes: number of outputs.
    """

    return nn.Sequential(
        nn.PixelUnshuffle(2),
        *_normalised(4 * channels, 32),
        nn.MaxPool2d(2),
        *_normalised(32, 64),
        nn.MaxPool2d(2),
        *_normalised(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    ).to(memory_format=torch.channels_last)


def _normalised(into: int, out: int) -> list[nn.Module]:
    """A 3×3 convolution, batch normalisation and ReLU."""
    return [nn.Conv2d(into, out, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
