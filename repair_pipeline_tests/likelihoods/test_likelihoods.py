"""Laws that every likelihood obeys, those of other packages too. A new one is one row in ``cases.py``."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian

from repair_pipeline.continual.curvature import empirical_fisher, ggn
from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.continual.functional import FunctionalPosterior
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.posterior import Dense, Laplace
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.likelihoods.reading import off
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.training.fit import accuracy, mean_probability, predictions
from repair_pipeline_tests.cases import LIKELIHOOD_ROWS, METHOD_ROWS, noisy
from repair_pipeline_tests.oracles import Newton, central_differences
from repair_pipeline_tests.plugin_example.catalogue_example import bernoulli
from repair_pipeline_tests.problems import blobs, seeded


class Problem:
    """A network, its likelihood, and log p of its outputs from the definition."""

    def __init__(self, row):
        self.likelihood, self.by_hand, self.classes = row.likelihood, row.by_hand, row.classes
        self.model = seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, row.outputs)))
        self.linear = seeded(nn.Linear(4, row.outputs))
        self.rows = blobs(23, seed=1, classes=row.classes)

    def classifier(self, model=None):
        return Classifier(model or self.model, self.likelihood)

    def log_p(self, theta, rows):
        """By hand, of the network."""
        sizes = [parameter.numel() for parameter in self.model.parameters()]
        parts = zip(theta.split(sizes), self.model.parameters(), strict=True)
        w1, b1, w2, b2 = (part.view_as(like) for part, like in parts)
        return self.log_p_of(torch.tanh(rows.inputs @ w1.T + b1) @ w2.T + b2, rows)

    def log_p_of(self, outputs, rows):
        return self.by_hand(outputs)[torch.arange(len(rows)), rows.labels].log()


ROWS = {row.name: row for row in LIKELIHOOD_ROWS}


@pytest.fixture(params=LIKELIHOOD_ROWS, ids=str)
def problem(request):
    return Problem(request.param)


def test_every_likelihood_has_a_row():
    assert {row.name for row in LIKELIHOOD_ROWS} >= set(LIKELIHOODS)


def under_every_label(problem, rows):
    return [replace(rows, labels=torch.full_like(rows.labels, label)) for label in range(problem.classes)]


def test_log_p_is_the_one_by_hand_and_adds_up_to_one(problem):
    classifier = problem.classifier()
    theta = classifier.theta_hat
    torch.testing.assert_close(
        classifier(theta, problem.rows), problem.log_p(theta, problem.rows), rtol=1e-12, atol=1e-14
    )
    total = sum(classifier(theta, rows).exp() for rows in under_every_label(problem, problem.rows))
    torch.testing.assert_close(total, torch.ones(23, dtype=torch.float64), rtol=1e-12, atol=0)


def test_gradients_are_autograds_and_finite_differences(problem):
    classifier = problem.classifier()
    theta = classifier.theta_hat
    actual = classifier.gradients(theta, problem.rows)
    jacobian = torch.autograd.functional.jacobian(lambda at: problem.log_p(at, problem.rows), theta)
    torch.testing.assert_close(actual, jacobian, rtol=1e-10, atol=1e-14)
    differences = central_differences(lambda at: problem.log_p(at, problem.rows), theta)
    torch.testing.assert_close(actual, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["empirical", "expected"])
def test_fisher_is_a_loop_over_samples_and_labels(problem, kind):
    classifier, total = problem.classifier(), 0
    theta = classifier.theta_hat
    for at in range(len(problem.rows)):
        row = problem.rows[torch.tensor([at])]
        for labelled in [row] if kind == "empirical" else under_every_label(problem, row):
            at_theta = theta.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(problem.log_p(at_theta, labelled), at_theta)
            weight = 1 if kind == "empirical" else problem.log_p(theta, labelled).exp()
            total = total + weight * gradient.square() / len(problem.rows)
    labels = labels_of(kind, classifier, torch.Generator())
    actual = fisher_diagonal(classifier, theta, problem.rows, 7, labels=labels)
    torch.testing.assert_close(actual, total, rtol=1e-10, atol=1e-14)


def test_the_curvatures_are_the_fishers_of_the_likelihood(problem):
    classifier = problem.classifier()
    theta = classifier.theta_hat
    jacobian = [
        torch.autograd.functional.jacobian(lambda at, z=z: problem.log_p(at, z), theta)
        for z in under_every_label(problem, problem.rows)
    ]
    weights = [problem.log_p(theta, rows).exp() for rows in under_every_label(problem, problem.rows)]
    expected = sum(g.T @ (w[:, None] * g) for g, w in zip(jacobian, weights, strict=True)) / len(problem.rows)
    given = torch.autograd.functional.jacobian(lambda at: problem.log_p(at, problem.rows), theta)
    for make, truth in ((ggn, expected), (empirical_fisher, given.T @ given / len(problem.rows))):
        curvature = make(classifier, theta, problem.rows)
        actual = torch.stack([curvature.product(unit) for unit in torch.eye(len(theta), dtype=torch.float64)])
        torch.testing.assert_close(actual, truth, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["empirical", "expected"])
def test_kfac_of_one_row_is_the_fishers_own_block_of_a_layer(problem, kind):
    # Of one row a layer's block is a Kronecker product, even of a layer whose outputs are the model's own.
    classifier, row = problem.classifier(problem.linear), problem.rows[:1]
    theta, labels = classifier.theta_hat, labels_of(kind, classifier, torch.Generator())
    curvature = kfac(classifier, theta, row, labels=labels)
    total = 0
    for labelled, weight in labels(theta, row):
        gradient = classifier.gradients(theta, labelled)
        total = total + gradient.T @ (weight[:, None] * gradient)
    for delta in torch.randn(5, len(theta), dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        torch.testing.assert_close(curvature.quadratic(delta), delta @ total @ delta, rtol=1e-9, atol=1e-12)


def test_the_functional_penalty_is_the_divergence_of_predictions(problem):
    classifier = problem.classifier()
    theta = classifier.theta_hat
    moved = theta + 0.1
    posterior = FunctionalPosterior(theta, classifier, problem.rows, gamma=0.5)
    divergence = 0
    for rows in under_every_label(problem, problem.rows):
        held, now = problem.log_p(theta, rows), problem.log_p(moved, rows)
        divergence = divergence + held.exp() * (held - now)
    actual = posterior.log_density(moved, torch.arange(23))
    torch.testing.assert_close(actual, -2 / 0.5 * divergence.mean(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "bernoulli"])
def test_learning_is_bayes_rule(name):
    # Log-concave, and with a proper prior: the posterior's mode is one, and the exact Hessian is its precision.
    problem = Problem(ROWS[name])
    classifier = problem.classifier(problem.linear)
    theta, rows = classifier.theta_hat, problem.rows[:7]
    prior = Laplace(theta, Dense(20.0 * torch.eye(len(theta), dtype=torch.float64)))
    learnt = learn(EWC(Newton()), prior, rows, classifier)

    def by_hand(at):
        weight, bias = (
            at[: problem.linear.weight.numel()].view_as(problem.linear.weight),
            at[problem.linear.weight.numel() :],
        )
        return problem.log_p_of(rows.inputs @ weight.T + bias, rows).sum() - 10 * (at - theta).square().sum()

    slope = torch.autograd.functional.jacobian(by_hand, learnt.mean)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
    torch.testing.assert_close(learnt.precision.matrix, -hessian(by_hand, learnt.mean), rtol=1e-9, atol=1e-10)


def test_predictions_are_the_most_likely_class(problem):
    classifier = problem.classifier()
    model = classifier.module(classifier.theta_hat)
    by_label = torch.stack(
        [problem.log_p(classifier.theta_hat, rows) for rows in under_every_label(problem, problem.rows)]
    )
    assert torch.equal(predictions(model, problem.rows), by_label.argmax(dim=0))
    assert accuracy(model, problem.rows) == (by_label.argmax(dim=0) == problem.rows.labels).double().mean().item()
    expected = problem.log_p(classifier.theta_hat, problem.rows).exp().mean().item()
    assert mean_probability(model, problem.rows) == pytest.approx(expected, rel=1e-12)


def test_off_restores_the_models_own_outputs():
    model = seeded(nn.Linear(4, 1))
    classifier = Classifier(model, bernoulli)
    inside = classifier.module(classifier.theta_hat)
    inputs = blobs(3, seed=1).inputs
    assert inside(inputs).shape == (3, 2)
    assert torch.equal(off(inside)(inputs), model(inputs))


def test_a_copy_of_a_classifiers_model_is_converted_only_once():
    problem = Problem(ROWS["noisy"])
    classifier = problem.classifier()
    again = Classifier(classifier.module(classifier.theta_hat))
    values = log_likelihoods(again, again.theta_hat, problem.rows)
    torch.testing.assert_close(values, problem.log_p(classifier.theta_hat, problem.rows), rtol=1e-12, atol=0)


class Read(nn.Module):
    """A likelihood as the last layer of a network."""

    def forward(self, outputs):
        return noisy.logits(outputs)


@pytest.mark.parametrize("row", [row for row in METHOD_ROWS if row.package is None and not row.settings], ids=str)
def test_a_method_sees_a_likelihood_as_it_would_the_networks_last_layer(task, row):
    def scores(made, likelihood):
        classifier = Classifier(made(task.classifier.module(task.theta_hat)), likelihood)

        def untrained(generator):
            return likelihood.on(made(task.untrained(generator)))

        generator = torch.Generator().manual_seed(0)
        seen = replace(task, classifier=classifier, untrained=untrained, generator=generator)
        settings = {"steps": 20} if row.name == "clean_reference" else {}
        return METHODS[row.name](**settings).scores(seen).values

    by_layer = scores(lambda model: nn.Sequential(model, Read()), SOFTMAX)
    assert torch.equal(scores(lambda model: model, noisy), by_layer)


def test_softmax_leaves_a_model_as_it_is():
    model = torch.jit.script(seeded(nn.Linear(4, 3)))
    assert SOFTMAX.on(model) is model
    assert LIKELIHOODS["softmax"] is SOFTMAX
    with pytest.raises(
        InputError, match="supports only the softmax likelihood: give the module that it was scripted from"
    ):
        bernoulli.on(model)
