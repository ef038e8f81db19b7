"""Derivatives of models that torch differentiates in different ways, against each row's own gradient by autograd."""

import numpy as np
import pytest
import torch
from torch import nn

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.curvature import empirical_fisher, ggn
from repair_pipeline.continual.directional import of_log_p
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.natural_gradient import NaturalGradientStep, PointEstimate
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.continual.solve import Solution
from repair_pipeline_tests.architectures import EVERY, KEEPING, WITHOUT_FORWARD_MODE, WITHOUT_VMAP
from repair_pipeline_tests.problems import blobs, seeded

ROWS = blobs(7, seed=1)
CURVATURES = {"empirical": empirical_fisher, "ggn": ggn}
every_model = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def model_of(make):
    torch.manual_seed(0)
    return make(4, 3).double().eval()


def by_autograd(model, outputs, rows=ROWS):
    """The gradient of a value of every row, by an ordinary backward pass into the model's own parameters."""
    gradients = []
    for at in range(len(rows)):
        model.zero_grad()
        outputs(model(rows.inputs[at : at + 1]).log_softmax(dim=1), rows.labels[at]).backward()
        missing = (p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters())
        gradients.append(torch.cat([gradient.flatten() for gradient in missing]))
    model.zero_grad()
    return torch.stack(gradients)


def of_given_label(log_p, label):
    return log_p[0, label]


@every_model
def test_gradients_are_those_of_an_ordinary_backward_pass(make):
    model = model_of(make)
    expected = by_autograd(model, of_given_label)
    classifier = Classifier(model)
    torch.testing.assert_close(classifier.gradients(classifier.theta_hat, ROWS), expected, rtol=1e-10, atol=1e-13)
    theta = classifier.theta_hat.clone().requires_grad_(True)
    whole = gradient(classifier(theta, ROWS).sum(), theta)
    torch.testing.assert_close(whole, expected.sum(dim=0), rtol=1e-9, atol=1e-12)


@every_model
def test_gradients_are_taken_at_the_theta_that_is_asked_for(make):
    classifier = Classifier(model_of(make))
    theta = classifier.theta_hat + 0.1 * torch.linspace(-1, 1, len(classifier.theta_hat)).double()
    expected = by_autograd(classifier.module(theta), of_given_label)
    torch.testing.assert_close(classifier.gradients(theta, ROWS), expected, rtol=1e-10, atol=1e-13)


@every_model
def test_a_directional_derivative_is_the_gradient_times_the_direction(make):
    model = model_of(make)
    classifier, v = Classifier(model), torch.linspace(-1, 1, len(Classifier(model).theta_hat)).double()
    actual = of_log_p(classifier).change(classifier.theta_hat, ROWS, v)
    torch.testing.assert_close(actual, by_autograd(model, of_given_label) @ v, rtol=1e-9, atol=1e-12)


@every_model
@pytest.mark.parametrize("kind", CURVATURES)
def test_curvatures_are_sums_of_outer_products_of_gradients(make, kind):
    model = model_of(make)
    classifier, v = Classifier(model), torch.linspace(-1, 1, len(Classifier(model).theta_hat)).double()
    if kind == "empirical":
        gradients, weights = [by_autograd(model, of_given_label)], [torch.ones(len(ROWS)).double()]
    else:  # the expected Fisher
        gradients = [by_autograd(model, lambda log_p, _, k=k: log_p[0, k]) for k in range(3)]
        weights = list(model(ROWS.inputs).detach().softmax(dim=1).unbind(dim=1))
    expected = sum(g.T @ (w * (g @ v)) for g, w in zip(gradients, weights, strict=True)) / len(ROWS)
    curvature = CURVATURES[kind](classifier, classifier.theta_hat, ROWS)
    torch.testing.assert_close(curvature.product(v), expected, rtol=1e-8, atol=1e-12)
    for _ in range(2):  # the second time as was chosen the first time
        several = curvature.product(torch.stack([v, -2 * v, torch.zeros_like(v)]))
        torch.testing.assert_close(several, torch.stack([expected, -2 * expected, 0 * expected]), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("make", WITHOUT_FORWARD_MODE.values(), ids=WITHOUT_FORWARD_MODE)
def test_fused_kernels_of_single_precision_have_derivatives_too(make):
    model = model_of(make).float()
    rows = type(ROWS)(ROWS.ids, ROWS.inputs.float(), ROWS.labels)
    classifier, v = Classifier(model), torch.linspace(-1, 1, len(Classifier(model).theta_hat))
    gradients = by_autograd(model, of_given_label, rows)
    actual = of_log_p(classifier).change(classifier.theta_hat, rows, v)
    assert (actual - gradients @ v).abs().max() < 1e-5 * (gradients.abs() @ v.abs()).max()
    product = CURVATURES["ggn"](classifier, classifier.theta_hat, rows).product(v.double())
    exact = Classifier(model.double())
    expected = CURVATURES["ggn"](exact, exact.theta_hat, ROWS).product(v.double())
    assert (product - expected).norm() < 1e-4 * expected.norm()


def test_what_torch_runs_at_once_is_run_at_once():
    owners = {"checkpoint", "reentrant", "scripted", "data_parallel"}
    for makes, ways in ((WITHOUT_VMAP, {"rows", "layers"}), (KEEPING, {"batched"})):
        for name, make in makes.items():
            assert Classifier(model_of(make)).way(ROWS.inputs) in ({"in_place"} if name in owners else ways), name
    assert Classifier(model_of(WITHOUT_FORWARD_MODE["attention"])).way(ROWS.inputs) == "batched"


def test_the_way_is_tried_once(monkeypatch):
    classifier, tried = Classifier(model_of(WITHOUT_VMAP["gru"])), []
    monkeypatch.setattr(classifier, "_supported_way", lambda some: tried.append(len(some)) or "rows")
    for _ in range(2):
        classifier.gradients(classifier.theta_hat, ROWS)
    assert tried == [3]


def test_a_model_without_any_gradient_raises_its_own_error():
    classifier = Classifier(seeded(nn.Sequential(nn.Linear(4, 4), WithoutGradient())))
    with pytest.raises(RuntimeError, match="does not require grad"):
        classifier.gradients(classifier.theta_hat, ROWS)


class WithoutGradient(nn.Module):
    def forward(self, x):
        return torch.from_numpy(np.tanh(x.detach().numpy()))


@pytest.mark.parametrize("make", [WITHOUT_VMAP["checkpoint"], WITHOUT_VMAP["function"]], ids=["in_place", "function"])
def test_the_natural_gradient_needs_no_transform(make):
    model = model_of(make)
    classifier = Classifier(model)
    curvature = CURVATURES["ggn"](classifier, classifier.theta_hat, ROWS)
    step = NaturalGradientStep(curvature, lambda curvature, damping, g: Solution(g, 0.0), damping=1.0, gamma=1.0)
    moved = step.update(PointEstimate(classifier.theta_hat), [Factor(ROWS, 1)], classifier).mean
    expected = by_autograd(model, of_given_label).sum(dim=0)
    torch.testing.assert_close(moved - classifier.theta_hat, expected, rtol=1e-9, atol=1e-12)
