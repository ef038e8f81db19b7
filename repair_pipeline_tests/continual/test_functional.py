"""Functional regularisation, against finite differences and the dense expected Fisher."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.continual.functional import FunctionalPosterior, FunctionalRegularisation
from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Factor
from repair_pipeline_tests.oracles import central_differences, gauss_newton
from repair_pipeline_tests.problems import blobs, logistic, seeded

D, Z = blobs(12, seed=1), blobs(5, seed=2)
EVERY_ROW = torch.arange(len(D))
STREAM = torch.Generator().manual_seed(0)


def posterior(classifier, gamma=2 / 12):
    return FunctionalPosterior(classifier.theta_hat, classifier, D, gamma)


def divergence(classifier, theta, rows):
    """The mean over rows of KL(p(·|x,θ̂) ‖ p(·|x,θ)), class by class."""
    total = 0.0
    for x in rows.inputs:
        held, now = (classifier.logits(at, x[None])[0].softmax(dim=0) for at in (classifier.theta_hat, theta))
        total += sum(p * (p / q).log() for p, q in zip(held, now, strict=True))
    return total / len(rows)


def ascend(objective, weights, start):
    """The argmax by quasi-Newton steps: what every class's logit shares does nothing, so the Hessian is singular."""
    theta, share = start.clone().requires_grad_(True), weights / weights.sum()
    optimiser = torch.optim.LBFGS([theta], 0.5, max_iter=500, tolerance_grad=1e-11, tolerance_change=0)

    def loss():
        optimiser.zero_grad()
        value = -sum(share[i] * objective(theta, torch.tensor([i])) for i in range(len(share)))
        value.backward()
        return value

    optimiser.step(loss)
    return theta.detach()


@pytest.fixture
def classifier():
    return Classifier(seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))))


def test_the_log_density_is_n_times_the_mean_divergence(classifier):
    theta = classifier.theta_hat + 0.1
    value = posterior(classifier).log_density(theta, EVERY_ROW)
    torch.testing.assert_close(value, -len(D) * divergence(classifier, theta, D), rtol=1e-10, atol=0)


def test_its_curvature_at_the_mean_is_n_times_the_expected_fisher(classifier):
    q = posterior(classifier)

    def slope(theta):
        theta = theta.detach().requires_grad_(True)
        return torch.autograd.grad(q.log_density(theta, EVERY_ROW), theta)[0]

    assert slope(q.mean).abs().max() < 1e-12
    fisher = gauss_newton(lambda theta: classifier.logits(theta, D.inputs), q.mean)
    torch.testing.assert_close(-central_differences(slope, q.mean), len(D) * fisher, rtol=1e-5, atol=1e-7)


def test_a_sample_of_rows_estimates_the_log_density_without_bias(classifier):
    q, theta = posterior(classifier), classifier.theta_hat + 0.1
    thirds = [q.log_density(theta, rows) for rows in EVERY_ROW.split(4)]
    torch.testing.assert_close(torch.stack(thirds).mean(), q.log_density(theta, EVERY_ROW), rtol=1e-10, atol=0)


def test_doubling_gamma_halves_the_hold_on_the_answers(classifier):
    theta = classifier.theta_hat + 0.1
    once, twice = (posterior(classifier, gamma).log_density(theta, EVERY_ROW) for gamma in (0.1, 0.2))
    torch.testing.assert_close(once, 2 * twice, rtol=1e-12, atol=0)


def test_labels_of_d_are_not_read(classifier):
    relabelled = replace(posterior(classifier), examples=replace(D, labels=(D.labels + 1) % 3))
    theta = classifier.theta_hat + 0.1
    assert torch.equal(relabelled.log_density(theta, EVERY_ROW), posterior(classifier).log_density(theta, EVERY_ROW))


@pytest.mark.parametrize("guard", [None, Factor(blobs(6, seed=3), 0.3)], ids=["failures", "with guard"])
def test_what_is_learnt_is_a_stationary_point(guard):
    classifier = Classifier(logistic())
    q = posterior(classifier)
    learned = learn(FunctionalRegularisation(ascend, STREAM), q, Z, classifier, guard).mean
    theta = learned.clone().requires_grad_(True)
    objective = classifier(theta, Z).sum() - len(D) * divergence(classifier, theta, D)
    if guard:
        objective = objective + guard.power * classifier(theta, guard.examples).sum()
    (gradient,) = torch.autograd.grad(objective, theta)
    assert gradient.abs().max() < 1e-7
    assert classifier(learned, Z).sum() > classifier(q.mean, Z).sum()


def test_a_learnt_posterior_holds_its_own_answers():
    classifier = Classifier(logistic())
    learned = learn(FunctionalRegularisation(ascend, STREAM), posterior(classifier), Z, classifier)
    assert learned.log_density(learned.mean, EVERY_ROW).item() == pytest.approx(0, abs=1e-12)
    assert learned.log_density(classifier.theta_hat, EVERY_ROW) < 0


def test_forgetting_is_asked_for_with_the_sign_of_the_power(classifier):
    asked = []

    def keep(objective, weights, start):
        asked.append(objective)
        return start

    forget(FunctionalRegularisation(keep, STREAM), posterior(classifier), Z, classifier)
    value = asked[0](classifier.theta_hat, torch.arange(len(Z)))
    torch.testing.assert_close(value, -classifier(classifier.theta_hat, Z).sum(), rtol=1e-10, atol=1e-12)
