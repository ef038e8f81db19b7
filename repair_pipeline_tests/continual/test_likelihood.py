"""The classifier as a likelihood: a product over examples, whatever is inside the model."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.models.cnn import cnn
from repair_pipeline_tests.oracles import central_differences, softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic, seeded

ROWS = blobs(11, seed=1)


class Tied(nn.Module):
    """One matrix used on the way in and on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(4, 3, bias=False)
        self.out = nn.Linear(4, 3, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.into(x)) @ self.into.weight)


def normalised() -> nn.Module:
    """Batch normalisation whose running statistics have moved, in train mode as after training."""
    model = seeded(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)))
    model.train()(3 * ROWS.inputs + 1)
    return model


def dropping() -> nn.Module:
    return seeded(nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3))).train()


MODELS = pytest.mark.parametrize(
    "make",
    [logistic, normalised, dropping, lambda: seeded(Tied())],
    ids=["logistic", "batch_norm", "dropout", "tied"],
)


def test_log_p_is_the_log_softmax_in_nats():
    model = logistic()
    logits = ROWS.inputs.numpy() @ model.weight.detach().numpy().T + model.bias.detach().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classifier = Classifier(model)
    np.testing.assert_allclose(
        log_likelihoods(classifier, classifier.theta_hat, ROWS),
        np.log(shares[np.arange(11), ROWS.labels.numpy()]),
        rtol=1e-12,
    )


def test_gradients_are_those_by_hand():
    model = logistic()
    expected = softmax_gradients(
        model.weight.detach().numpy(), model.bias.detach().numpy(), ROWS.inputs.numpy(), ROWS.labels.numpy()
    )
    classifier = Classifier(model)
    np.testing.assert_allclose(classifier.gradients(classifier.theta_hat, ROWS), expected, rtol=1e-12, atol=1e-15)


@MODELS
def test_gradients_are_finite_differences(make):
    classifier = Classifier(make())
    jacobian = central_differences(lambda theta: classifier(theta, ROWS), classifier.theta_hat)
    torch.testing.assert_close(classifier.gradients(classifier.theta_hat, ROWS), jacobian, rtol=1e-6, atol=1e-8)


@MODELS
def test_log_p_does_not_depend_on_the_batch_it_sits_in(make):
    classifier = Classifier(make())
    together = log_likelihoods(classifier, classifier.theta_hat, ROWS)
    for batch_size in (1, 3):
        apart = log_likelihoods(classifier, classifier.theta_hat, ROWS, batch_size)
        torch.testing.assert_close(apart, together, rtol=1e-10, atol=0)


@MODELS
def test_likelihoods_and_fisher_leave_the_model_and_its_buffers_alone(make):
    model = make()
    training, before = model.training, {name: value.clone() for name, value in model.state_dict().items()}
    classifier = Classifier(model)
    classifier(classifier.theta_hat, ROWS)
    fisher_diagonal(classifier, classifier.theta_hat, ROWS)
    after = classifier.module(classifier.theta_hat).state_dict()
    assert model.training == training
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@MODELS
def test_logits_at_theta_hat_are_the_models_own_output(make):
    model = make()
    classifier = Classifier(model)
    assert torch.equal(classifier.logits(classifier.theta_hat, ROWS.inputs), model.eval()(ROWS.inputs))


def test_logits_at_theta_hat_are_the_cnns_own_output():
    model = cnn(1, 10).eval()
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    classifier = Classifier(model)
    torch.testing.assert_close(classifier.logits(classifier.theta_hat, x), model(x), rtol=1e-5, atol=1e-6)


def test_a_model_keeps_its_memory_layout():
    model = cnn(1, 10)
    again = Classifier(model).module(Classifier(model).theta_hat)
    assert [value.stride() for value in again.parameters()] == [value.stride() for value in model.parameters()]


@MODELS
def test_module_and_theta_are_one_model(make):
    classifier = Classifier(make())
    theta = torch.linspace(-1, 1, len(classifier.theta_hat), dtype=torch.float64)
    module = classifier.module(theta)
    assert torch.equal(Classifier(module).theta_hat, theta)
    assert torch.equal(module(ROWS.inputs), classifier.logits(theta, ROWS.inputs))


def test_training_a_module_does_not_move_theta():
    classifier = Classifier(logistic())
    theta = classifier.theta_hat.clone()
    with torch.no_grad():
        for parameter in classifier.module(classifier.theta_hat).parameters():
            parameter.add_(1)
    assert torch.equal(classifier.theta_hat, theta)


def test_training_the_model_afterwards_does_not_move_the_classifier():
    model = logistic()
    classifier = Classifier(model)
    before = classifier(classifier.theta_hat, ROWS)
    with torch.no_grad():
        model.weight.add_(1)
    assert torch.equal(classifier(classifier.theta_hat, ROWS), before)


def test_a_tied_weight_is_one_parameter():
    assert len(Classifier(seeded(Tied())).theta_hat) == 12


def test_dropout_is_off():
    classifier = Classifier(dropping())
    once, again = (classifier(classifier.theta_hat, ROWS) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_stay_in_the_layout_that_the_model_keeps_them_in(channels):
    model, layouts = seeded(cnn(channels, 3)).float(), []
    for layer in model:
        layer.register_forward_hook(lambda layer, inputs, output: layouts.append(output.stride()))
    inputs = torch.rand(2, channels, 12, 12, dtype=torch.float32)
    model.eval()(inputs)
    classifier = Classifier(model)
    classifier.logits(classifier.theta_hat, inputs)
    assert layouts[: len(model)] == layouts[len(model) :]


@MODELS
def test_gradients_of_another_function_of_the_logits_are_finite_differences(make):
    classifier = Classifier(make())

    def norm(logits, labels):
        return logits.norm(dim=1)

    jacobian = central_differences(
        lambda theta: classifier.logits(theta, ROWS.inputs).norm(dim=1), classifier.theta_hat
    )
    gradients = classifier.gradients(classifier.theta_hat, ROWS, of=norm)
    torch.testing.assert_close(gradients, jacobian, rtol=1e-6, atol=1e-8)
