"""What stands between a model, its inputs and its logits."""

import pytest
import torch
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.reading import off, reading_of, with_logits
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.models.copying import copied
from repair_pipeline.models.user_model import torchvision_model
from repair_pipeline.pipeline.trials import auxiliary_outputs, fails_in_train_mode
from repair_pipeline.training.fit import Schedule
from repair_pipeline_tests.plugin_example.catalogue_example import bernoulli
from repair_pipeline_tests.problems import examples

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


class Then(nn.Module):
    def __init__(self, then, outputs=2):
        super().__init__()
        self.linear, self.then = nn.Linear(6, outputs), then

    def forward(self, x):
        return self.then(self.linear(x))


def lines(model):
    return dict(reading_of(model).lines)


def test_what_is_converted_is_said():
    said = [
        (Then(lambda y: y), X, {}),
        (Then(lambda y: y), X.long(), {"inputs": "converted to the floating-point type of the model's parameters"}),
        (Then(lambda y: y).double(), X, {"inputs": "converted to the floating-point type of the model's parameters"}),
        (
            Then(lambda y: y).bfloat16(),
            X,
            {"precision": "the model's parameters are bfloat16: they are computed with and saved as float32"},
        ),
        (
            nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(12, 2)),
            X.abs().round(),
            {"inputs": "the model reads integers: they are converted to int64, exactly"},
        ),
        (
            Then(lambda y: (y, y.sum())),
            X,
            {"outputs": "of the tuple that the model returns, number 1 is taken as the logits"},
        ),
        (
            Then(lambda y: {"logits": y}),
            X,
            {"outputs": "of the dict that the model returns, 'logits' is taken as the logits"},
        ),
        (
            Then(lambda y: y, outputs=1),
            X,
            {"outputs": "a single number z for each row: the logits of the two classes are 0 and z"},
        ),
    ]
    for model, inputs, expected in said:
        assert lines(with_logits(model, inputs, 2, SOFTMAX)) == expected


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_with_the_same_weights(kind):
    model = Then(torch.tanh).to(kind)
    twin = copied(model).float()
    read = with_logits(model, X, 2, SOFTMAX)
    assert torch.equal(read(X), twin(X))


def test_a_mode_of_each_module_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with_logits(model, X, 2, SOFTMAX)
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_off_gives_back_what_the_owner_returns():
    model = Then(lambda y: {"logits": y}, outputs=1)
    inside = copied(with_logits(copied(model), X.long(), 2, SOFTMAX))
    assert inside(X.long()).shape == (3, 2)
    assert torch.equal(off(inside)(X)["logits"], model(X)["logits"])
    with pytest.raises(RuntimeError):
        inside(X.long())


def test_a_likelihood_reads_the_tensor_that_was_found():
    model = Then(lambda y: (y,), outputs=1)
    read = with_logits(copied(model), X, 2, bernoulli)
    assert torch.equal(read(X), bernoulli.logits(model(X)[0]))
    assert not reading_of(read).single


def test_a_scripted_module_is_taken_as_it_is_or_refused():
    script = torch.jit.script(nn.Linear(6, 2))
    assert with_logits(script, X, 2, SOFTMAX) is script
    with pytest.raises(InputError, match="outputs that need no conversion: give the module that it was scripted from"):
        with_logits(torch.jit.script(nn.Linear(6, 1)), X, 2, SOFTMAX)


def test_auxiliary_outputs_of_train_mode_are_left_out_and_said():
    images = examples(torch.randn(4, 3, 64, 64), torch.arange(4) % 2)
    model = torchvision_model("googlenet", 2, {"init_weights": False})
    read = with_logits(model, images.inputs, 2, SOFTMAX)
    assert fails_in_train_mode(read, images) is None
    assert auxiliary_outputs(read, images) == "GoogLeNetOutputs"
    trained = Schedule(max_epochs=1).fit(read, images, images, torch.Generator(), start="new")
    assert trained(images.inputs).shape == (4, 2)
    assert auxiliary_outputs(with_logits(Then(lambda y: y), X, 2, SOFTMAX), examples(X, torch.arange(3))) is None
