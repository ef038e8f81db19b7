"""Copies of models that hold computed tensors."""

from contextlib import suppress
from warnings import catch_warnings

import pytest
import torch
from torch.func import functional_call, grad, vmap

from repair_pipeline.models.copying import copied
from repair_pipeline_tests.architectures import EVERY
from repair_pipeline_tests.problems import blobs

X = blobs(5, seed=1).inputs.float()


def forward(model):
    model(X)


def transformed(model):
    def total(parameters, x):
        return functional_call(model, parameters, (x[None],)).sum()

    vmap(grad(total), in_dims=(None, 0))(dict(model.named_parameters()), X)


def lent(model):
    values = {name: value.detach().requires_grad_(True) for name, value in model.named_parameters()}
    functional_call(model, values, (X,)).sum().backward()


def stepped(model):
    """Parameters that were parts of one tensor, which an optimiser has moved since."""
    values = dict(model.named_parameters())
    theta = torch.cat([value.detach().flatten() for value in values.values()]).requires_grad_(True)
    parts = theta.split([value.numel() for value in values.values()])
    shaped = {name: part.view_as(value) for (name, value), part in zip(values.items(), parts, strict=True)}
    functional_call(model, shaped, (X,)).sum().backward()
    torch.optim.SGD([theta], lr=0.1).step()


@pytest.mark.parametrize("after", [forward, transformed, lent, stepped])
@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_copy_computes_the_same_and_shares_no_tensor(make, after):
    torch.manual_seed(0)
    model = make(4, 3).eval()
    next(model.parameters()).requires_grad_(False)
    with suppress(RuntimeError), catch_warnings(action="ignore"):  # vmap runs some of them; what it began is left
        after(model)
    again = copied(model)
    assert [(name, p.requires_grad) for name, p in again.named_parameters()] == [
        (name, p.requires_grad) for name, p in model.named_parameters()
    ]
    expected = model(X)
    assert torch.equal(again(X), expected)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1)
    assert torch.equal(model(X), expected)
    assert not torch.equal(again(X), expected)
