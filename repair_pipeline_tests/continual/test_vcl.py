"""Variational continual learning, against the conjugate Gaussian, whose best mean-field approximation is known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.continual.vcl import VCL, MeanField
from repair_pipeline_tests.oracles import Newton, Normal
from repair_pipeline_tests.problems import LinearGaussian, blobs, logistic, regression

NOISE = 0.7
GAUSSIAN = LinearGaussian(NOISE)
PRIOR = Normal(np.array([0.5, -1.0, 2.0]), np.diag([1.0, 0.8, 1.5]))
Z, GUARD, TAU = regression(7, seed=1), regression(6, seed=2), 0.3


def prior(samples=2):
    generator = torch.Generator().manual_seed(0)
    return MeanField(
        torch.tensor(PRIOR.mean),
        torch.tensor(PRIOR.covariance).diagonal().sqrt(),
        torch.randn(samples, 3, generator=generator, dtype=torch.float64),
    )


MEAN_FIELD = prior()


def evidence(z, tempered=1.0):
    return z.inputs[:, :-1].numpy(), z.inputs[:, -1].numpy(), NOISE / np.sqrt(tempered)


@pytest.fixture
def exact_expectations(monkeypatch):
    """A Newton's method for bounds: six points have a standard normal's mean and covariance in three dimensions."""
    points = np.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    drawn = itertools.cycle(points)
    monkeypatch.setattr(torch, "randn", lambda *shape, **settings: next(drawn))

    def maximise(objective, weights, start):
        return Newton()(lambda free, batch: sum(objective(free, batch) for _ in points) / 6, weights, start)

    return VCL(maximise, torch.Generator())


def test_what_is_learnt_is_the_best_mean_field_approximation_of_the_exact_posterior(exact_expectations):
    truth, q = PRIOR.given(*evidence(Z)).given(*evidence(GUARD, TAU)), MEAN_FIELD
    learned = learn(exact_expectations, q, Z, GAUSSIAN, guard=Factor(GUARD, TAU))
    # Of N(μ, Σ) that is N(μ, 1 / diag Σ⁻¹): the mean is exact, the variances are the conditional ones.
    np.testing.assert_allclose(learned.mean, truth.mean, rtol=1e-9)
    np.testing.assert_allclose(learned.deviation**2, 1 / np.linalg.inv(truth.covariance).diagonal(), rtol=1e-9)


def test_forget_undoes_learn_where_the_truth_is_mean_field(exact_expectations):
    # Features that are orthogonal over Z leave the parameters independent.
    features = torch.linalg.qr(Z.inputs[:, :3])[0]
    orthogonal = replace(Z, source=torch.cat([features, Z.inputs[:, 3:]], dim=1), rows=None)
    back = forget(exact_expectations, learn(exact_expectations, MEAN_FIELD, orthogonal, GAUSSIAN), orthogonal, GAUSSIAN)
    np.testing.assert_allclose(back.mean, PRIOR.mean, rtol=1e-9)
    np.testing.assert_allclose(back.deviation**2, PRIOR.covariance.diagonal(), rtol=1e-9)


@pytest.mark.parametrize(("update", "sign"), [(learn, 1), (forget, -1)])
def test_the_bounds_gradient_is_unbiased_for_the_exact_bounds(update, sign):
    q, asked = MEAN_FIELD, []

    def keep(objective, weights, start):
        asked.append(objective)
        return start

    update(VCL(keep, torch.Generator().manual_seed(0)), q, Z, GAUSSIAN)
    free = torch.tensor([0.1, -0.5, 1.0, -0.3, 0.2, 0.1], dtype=torch.float64)
    at = free.clone().requires_grad_(True)
    everything = torch.arange(len(Z))
    draws = torch.stack([torch.autograd.grad(asked[0](at, everything), at)[0] for _ in range(1000)])
    # E_q[log p(Z|θ)] of a Gaussian is that at the mean, less ½ tr(XᵀX diag s²) / σ²; KL of two Gaussians.
    x, y, _ = (torch.as_tensor(part) for part in evidence(Z))
    at = free.clone().requires_grad_(True)
    mean, deviation = at[:3], q.deviation * at[3:].exp()
    data = -0.5 * ((y - x @ mean).square().sum() + (x.square() @ deviation.square()).sum()) / NOISE**2
    normal = torch.distributions.Normal
    divergence = torch.distributions.kl_divergence(normal(mean, deviation), normal(q.mean, q.deviation)).sum()
    (exact,) = torch.autograd.grad(sign * data - divergence, at)
    assert ((draws.mean(dim=0) - exact).abs() < 4 * draws.std(dim=0) / len(draws) ** 0.5).all()


def test_an_update_keeps_the_draws_and_the_posterior_it_was_given():
    q = MEAN_FIELD
    kept = replace(q, mean=q.mean.clone(), deviation=q.deviation.clone())
    generator = torch.Generator().manual_seed(0)
    learned = learn(VCL(OneCycle(generator, steps=3), generator), q, Z, GAUSSIAN)
    assert learned.noise is q.noise
    assert torch.equal(q.mean, kept.mean)
    assert torch.equal(q.deviation, kept.deviation)
    assert not torch.equal(learned.deviation, q.deviation)


def test_expected_log_lik_is_the_mean_over_the_draws():
    classifier, z = Classifier(logistic()), blobs(6, seed=4)
    noise = torch.randn(3, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    q = MeanField(classifier.theta_hat, torch.linspace(0.1, 0.3, 15, dtype=torch.float64), noise)
    by_hand = sum(classifier(q.mean + q.deviation * draw, z) for draw in noise) / 3
    torch.testing.assert_close(q.expected_log_lik(classifier, z), by_hand, rtol=1e-12, atol=0)


def test_expected_log_lik_of_a_conjugate_gaussian_is_known():
    q = prior(samples=1000)
    x, y, _ = (torch.as_tensor(part) for part in evidence(Z))
    spread = (x.square() @ q.deviation.square()) + (y - x @ q.mean).square()
    known = -0.5 * spread / NOISE**2 - np.log(NOISE * np.sqrt(2 * np.pi))
    assert (q.expected_log_lik(GAUSSIAN, Z) / known).numpy() == pytest.approx(np.ones(7), rel=0.15)
