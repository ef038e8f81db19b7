"""Gradients of rows from what each layer reads are those of autograd, one row at a time."""

import pytest
import torch
from torch import nn

from repair_pipeline.continual.layer_gradients import LayerGradients
from repair_pipeline_tests.problems import seeded


class Texts(nn.Module):
    """Tokens, positions that are looked up once for all rows, a shared layer, and a table that is tied to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(7, 4, padding_idx=0), nn.Embedding(5, 4)
        self.norm, self.mix, self.head = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1])[None])
        h = self.mix(torch.tanh(self.mix(self.norm(h))))
        return self.head(h.mean(dim=1))


def images():
    norm = nn.BatchNorm2d(4)
    norm.running_mean, norm.running_var = torch.randn(4).double(), torch.rand(4).double() + 0.5
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2), norm, nn.Tanh(), nn.Flatten(), nn.LazyLinear(6)),
        *(nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3, bias=False)),
    )


def initialised(model, inputs):
    model.double()(inputs)
    return seeded(model).eval()


IMAGES = torch.randn(5, 2, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[1, 2, 0], [3, 3, 6], [5, 0, 0], [2, 1, 4]])


@pytest.mark.parametrize(("make", "inputs"), [(images, IMAGES), (Texts, TOKENS)], ids=["images", "texts"])
def test_gradients_of_layers_are_those_of_rows(make, inputs):
    model = initialised(make(), inputs)
    names = [name for name, _ in model.named_parameters()]
    actual = LayerGradients(model, names)(
        lambda: model(inputs).log_softmax(dim=1)[:, 1], len(inputs), torch.zeros(1).double()
    )
    for at in range(len(inputs)):
        value = model(inputs[at : at + 1]).log_softmax(dim=1)[0, 1]
        expected = torch.autograd.grad(value, [model.get_parameter(name) for name in names])
        assert (actual[at] - torch.cat([part.flatten() for part in expected])).abs().max() < 1e-12


def test_only_adapted_parameters_are_in_it_and_the_model_is_left_without_hooks():
    model = initialised(Texts(), TOKENS)
    everything = LayerGradients(model, [name for name, _ in model.named_parameters()])
    some = LayerGradients(model, ["norm.weight", "mix.bias"])
    values, like = (lambda: model(TOKENS).sum(dim=1)), torch.zeros(1).double()
    whole, part = everything(values, 4, like), some(values, 4, like)
    names = {name: value.numel() for name, value in model.named_parameters()}
    columns = dict(zip(names, whole.split(list(names.values()), dim=1), strict=True))
    assert torch.equal(part, torch.cat([columns["norm.weight"], columns["mix.bias"]], dim=1))
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())


def test_a_parameter_of_another_layer_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    LayerGradients(model, ["0.weight"])
    with pytest.raises(NotImplementedError, match="PReLU"):
        LayerGradients(model, ["0.weight", "1.weight"])
