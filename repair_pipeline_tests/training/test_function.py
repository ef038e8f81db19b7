"""The owner's own training function: what it is given, and what it may return."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.training.function import Rows, TrainingFunction, UserTraining
from repair_pipeline_tests.problems import blobs, logistic, seeded

TRAIN, VALIDATION = blobs(30, seed=1), blobs(9, seed=2)
SOFT = torch.rand(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def hers(model, train, validation, *, seed, device, progress, rate=0.1):
    """A training as people write it."""
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in DataLoader(train, batch_size=7):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
        optimiser.step()
    progress(1, 1)
    return model


def trained(function, model=None, rows=TRAIN, start="new", seed=0, arguments=None, **settings):
    training = TrainingFunction(function, "her_code:train", arguments or {})
    return training.fit(model or logistic(), rows, VALIDATION, stream(seed), start=start, **settings)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("start", ["new", "trained"])
@pytest.mark.parametrize("targets", [None, SOFT], ids=["hard", "soft"])
def test_her_function_trains_a_copy_on_the_rows_in_order(start, targets):
    model, expected = logistic().eval(), logistic()
    for at in torch.arange(30).split(7):
        labels = TRAIN.labels[at] if targets is None else targets[at]
        loss = nn.functional.cross_entropy(expected(TRAIN.inputs[at]), labels)
        gradients = torch.autograd.grad(loss, list(expected.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(expected.parameters(), gradients, strict=True):
                parameter -= 0.2 * gradient
    seen = []
    result = trained(
        hers, model, start=start, targets=targets, arguments={"rate": 0.2}, progress=lambda *at: seen.append(at)
    )
    torch.testing.assert_close(result.state_dict(), expected.state_dict(), rtol=1e-12, atol=0)
    assert same(model, logistic())
    assert not result.training
    assert seen == [(1, 1)]


def test_what_it_is_given():
    given = {}

    def watch(model, train, validation, *, seed, device, progress):
        given.update(seed=seed, device=device, training=model.training, sizes=(len(train), len(validation)))
        given.update(drawn=torch.rand(3), x=train[4][0], y=train[4][1], last=list(validation)[-1])
        return model

    model = logistic().eval()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained(watch, model)
    assert torch.equal(torch.rand(2), expected)
    first = dict(given)
    assert first["sizes"] == (30, 9)
    assert first["training"]
    assert first["device"] == torch.device("cpu")
    assert torch.equal(first["x"], TRAIN.inputs[4])
    assert int(first["y"]) == TRAIN.labels[4]
    assert torch.equal(first["last"][0], VALIDATION.inputs[8])
    trained(watch)
    assert (given["seed"], given["drawn"].tolist()) == (first["seed"], first["drawn"].tolist())
    trained(watch, seed=1)
    assert given["seed"] != first["seed"]
    assert given["drawn"].tolist() != first["drawn"].tolist()
    np.random.default_rng(given["seed"])
    np.random.RandomState(given["seed"])
    random.Random(given["seed"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_the_rows_with_class_numbers_or_soft_labels(workers):
    x, y = zip(*DataLoader(Rows(TRAIN[5:]), batch_size=10, num_workers=workers), strict=True)
    assert torch.equal(torch.cat(x), TRAIN.inputs[5:])
    assert torch.equal(torch.cat(y), TRAIN.labels[5:])
    x, y = zip(*DataLoader(Rows(TRAIN, SOFT), batch_size=10), strict=True)
    assert torch.equal(torch.cat(x), TRAIN.inputs)
    assert torch.equal(torch.cat(y), SOFT)


def test_another_model_of_the_architecture_may_be_returned_wrapped_or_not():
    def another(model, *rows, seed, device, progress):
        return nn.DataParallel(seeded(nn.Linear(4, 3), seed=9))

    base = nn.Sequential(nn.Linear(4, 3)).double()
    halved = Likelihood(lambda outputs: outputs / 2, "half")
    result = trained(lambda *args, **rest: nn.Sequential(another(*args, **rest).module), halved.on(base))
    torch.testing.assert_close(result(TRAIN.inputs), seeded(nn.Linear(4, 3), seed=9)(TRAIN.inputs) / 2)
    assert same(trained(another), seeded(nn.Linear(4, 3), seed=9))


def broken(model, value):
    with torch.no_grad():
        model.bias[0] = value
    return model


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda model, train: model, "her_code:train fails (TypeError: "),
        (lambda model, *rest, **given: 1 / 0, "her_code:train fails (ZeroDivisionError: division by zero): fix it"),
        (lambda model, *rest, **given: None, "her_code:train returns a NoneType: return the trained torch.nn.Module"),
        (lambda model, *rest, **given: nn.Linear(4, 2), "has 'weight' of shape (2, 4), the model's is (3, 4)"),
        (lambda model, *rest, **given: nn.Linear(4, 3, bias=False), "lacks 'bias', which the model has"),
        (lambda model, *rest, **given: broken(model, float("nan")), "returns a model whose 'bias' is not finite"),
    ],
    ids=["arguments", "failing", "nothing", "shape", "tensors", "values"],
)
def test_a_function_that_cannot_be_used_is_refused_in_one_line(function, message):
    with pytest.raises(InputError) as refused:
        trained(function)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_function_is_found_by_its_name_and_gets_its_arguments(tmp_path):
    (tmp_path / "her_training.py").write_text(
        "def train(model, train, validation, *, seed, device, progress, by):\n"
        "    model.weight.data.add_(by)\n"
        "    return model\n"
    )
    training = UserTraining("her_training:train", {"by": 2}).resolved(tmp_path)
    result = training.fit(logistic(), TRAIN, VALIDATION, stream(), start="trained")
    assert torch.equal(result.weight, logistic().weight + 2)
    with pytest.raises(InputError, match=r"training\.function names 'fit'"):
        UserTraining("her_training:fit").resolved(tmp_path)


def test_frozen_parameters_are_still_frozen_in_what_comes_back():
    base = logistic()
    base.bias.requires_grad_(False)
    result = trained(lambda model, *rest, **given: seeded(nn.Linear(4, 3), seed=9), base)
    assert [parameter.requires_grad for parameter in result.parameters()] == [True, False]


def test_rows_that_are_a_subset_are_read_as_such():
    chosen = Rows(replace(TRAIN, rows=None)[torch.tensor([3, 1])])
    assert torch.equal(torch.stack([x for x, _ in chosen]), TRAIN.inputs[[3, 1]])
