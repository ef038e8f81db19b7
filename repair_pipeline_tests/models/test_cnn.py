"""App. C's CNN, and ours."""

import torch
from torch import nn

from repair_pipeline.models.cnn import cnn, cnn8, cnn_compact


def test_four_convolutions_of_3_by_3_with_32_32_64_and_64_kernels():
    convolutions = [module for module in cnn(1, 10).modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [32, 32, 64, 64]
    assert {module.kernel_size for module in convolutions} == {(3, 3)}
    parameters = sum(parameter.numel() for parameter in cnn(1, 10).parameters())
    assert parameters == (9 + 1) * 32 + (9 * 32 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64 + (64 + 1) * 10


def test_pooling_halves_the_map_after_the_first_and_after_the_second_convolution():
    sizes, x = [], torch.zeros(1, 1, 28, 28)
    for module in cnn(1, 10):
        x = module(x)
        if isinstance(module, nn.Conv2d):
            sizes.append(x.shape[-1])
    assert sizes == [28, 14, 7, 7]
    assert x.shape == (1, 10)


def test_channels_and_classes_are_the_datas():
    assert cnn(3, 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_the_eight_layer_network_normalises_each_of_seven_convolutions():
    modules = list(cnn8(3, 10).modules())
    assert sum(isinstance(module, nn.Conv2d) for module in modules) == 7
    assert sum(isinstance(module, nn.BatchNorm2d) for module in modules) == 7
    assert cnn8(3, 10).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_compact_network_has_three_convolutions_on_patches_of_four_pixels():
    model, sizes = cnn_compact(3, 10), []
    x = torch.zeros(2, 3, 32, 32)
    for module in model.eval():
        x = module(x)
        if isinstance(module, nn.Conv2d):
            sizes.append((module.in_channels, module.out_channels, x.shape[-1]))
    assert sizes == [(12, 32, 16), (32, 64, 8), (64, 64, 4)]
    assert x.shape == (2, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 59_722
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last)
