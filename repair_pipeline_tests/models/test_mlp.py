"""The network for vectors."""

import torch

from repair_pipeline.models.mlp import mlp


def test_it_is_one_hidden_layer_of_128_units_with_relu():
    model, x = mlp(6, 3), torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    w, b, v, c = model.parameters()
    assert w.shape == (128, 6)
    expected = (x.reshape(4, 6) @ w.T + b).clamp(min=0) @ v.T + c
    assert torch.allclose(model(x), expected, atol=1e-6)
