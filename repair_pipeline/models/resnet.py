"""Residual networks for small images (He et al., 2016; App. C)."""

from typing import Literal

from torch import nn


def resnet(depth: Literal[18, 50], channels: int, classes: int) -> nn.Module:
    """torchvision's ResNet, untrained, with the stem for 32×32 images: 3×3, stride 1, and no max-pooling.

    Deviation: App. C says "a 50-layer ResNet" and does not specify the stem. The ImageNet stem would leave 8×8 pixels
    for the first block and one for the last.
    """
    from torchvision import models  # imported here: it takes seconds, and most commands do not need it

    model = models.get_model(f"resnet{depth}", num_classes=classes)
    model.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # like the other convolutions
    model.maxpool = nn.Identity()
    return model
