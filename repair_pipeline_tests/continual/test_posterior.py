"""Posterior updates, against closed forms."""

import numpy as np
import pytest
import torch

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Dense, Diagonal, Factor, Laplace, laplace
from repair_pipeline_tests.oracles import Newton, Normal
from repair_pipeline_tests.problems import LinearGaussian, blobs, logistic, regression

NOISE = 0.7
GAUSSIAN = LinearGaussian(NOISE)
EXACT = EWC(Newton())

PRIOR = Normal(np.array([0.5, -1.0, 2.0]), np.array([[1.0, 0.3, 0.0], [0.3, 0.8, -0.2], [0.0, -0.2, 1.5]]))
Q = Laplace(torch.tensor(PRIOR.mean), Dense(torch.tensor(np.linalg.inv(PRIOR.covariance))))


def evidence(z, tempered=1.0):
    """What the oracle conditions on: N(y | xθ, σ²)^τ is N(y | xθ, σ²/τ) up to a constant."""
    return z.inputs[:, :-1].numpy(), z.inputs[:, -1].numpy(), NOISE / np.sqrt(tempered)


def assert_same(q: Laplace, truth: Normal) -> None:
    np.testing.assert_allclose(q.mean, truth.mean, rtol=1e-10)
    np.testing.assert_allclose(torch.linalg.inv(q.precision.matrix), truth.covariance, rtol=1e-10, atol=1e-12)


def test_learn_is_bayes_rule_in_mean_and_covariance():
    z = regression(7, seed=1)
    assert_same(learn(EXACT, Q, z, GAUSSIAN), PRIOR.given(*evidence(z)))


def test_forget_is_retraining_without_causes():
    rest, causes = regression(9, seed=2), regression(4, seed=3)
    everything = EXACT.update(Q, [Factor(rest, 1), Factor(causes, 1)], GAUSSIAN)
    assert_same(everything, PRIOR.given(*evidence(rest)).given(*evidence(causes)))
    assert_same(forget(EXACT, everything, causes, GAUSSIAN), PRIOR.given(*evidence(rest)))


def test_forget_undoes_learn_in_mean_and_precision():
    z = regression(6, seed=4)
    back = forget(EXACT, learn(EXACT, Q, z, GAUSSIAN), z, GAUSSIAN)
    torch.testing.assert_close(back.mean, Q.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(back.precision.matrix, Q.precision.matrix, rtol=1e-10, atol=1e-12)


def test_forget_undoes_learn_in_a_diagonal_precision():
    z, classifier = blobs(6, seed=4), Classifier(logistic())
    q = Laplace(classifier.theta_hat, Diagonal(torch.linspace(1, 3, 15, dtype=torch.float64)))
    learned = learn(EXACT, q, z, classifier)
    assert (learned.precision.values > q.precision.values).all()
    # Wherever the mean goes: what comes off is the curvature that went on, where it went on.
    back = forget(EWC(lambda objective, weights, start: start / 2), learned, z, classifier)
    torch.testing.assert_close(back.precision.values, q.precision.values, rtol=1e-10, atol=1e-12)


def test_factors_at_once_are_factors_one_after_the_other():
    first, second = regression(5, seed=5), regression(8, seed=6)
    at_once = EXACT.update(Q, [Factor(first, 1), Factor(second, 0.3)], GAUSSIAN)
    in_turn = EXACT.update(EXACT.update(Q, [Factor(second, 0.3)], GAUSSIAN), [Factor(first, 1)], GAUSSIAN)
    torch.testing.assert_close(at_once.mean, in_turn.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(at_once.precision.matrix, in_turn.precision.matrix, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 1 / 3, 1.0, 2.5])
def test_a_tempered_factor_has_tau_times_the_weight_of_its_data(tau):
    failures, guard = regression(3, seed=7), regression(6, seed=8)
    q = learn(EXACT, Q, failures, GAUSSIAN, guard=Factor(guard, tau))
    assert_same(q, PRIOR.given(*evidence(failures)).given(*evidence(guard, tempered=tau)))


def test_frozen_precision_stays_and_the_mean_moves_all_the_same():
    z = regression(7, seed=1)
    frozen, updated = (learn(EWC(Newton(), precision=p), Q, z, GAUSSIAN) for p in ("frozen", "updated"))
    assert frozen.precision is Q.precision
    torch.testing.assert_close(frozen.mean, updated.mean, rtol=0, atol=0)


def test_laplace_at_two_over_n_is_the_papers_penalty():
    theta_hat, fisher, theta = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    n, prior, delta = 40, 0.3, (theta - theta_hat).numpy()
    penalty = n / 2 * delta @ np.diag(fisher.numpy()) @ delta + prior / 2 * delta @ delta  # Eq. 10
    assert laplace(theta_hat, fisher, gamma=2 / n, prior=prior).log_density(theta).item() == pytest.approx(
        -penalty, rel=1e-12
    )


def test_doubling_gamma_halves_the_hold_on_the_mean():
    theta_hat, fisher, theta = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once, twice = (laplace(theta_hat, fisher, gamma).log_density(theta).item() for gamma in (0.1, 0.2))
    assert once == pytest.approx(2 * twice, rel=1e-12)


def test_log_density_is_greatest_at_the_mean():
    matrix = torch.tensor(np.linalg.inv(PRIOR.covariance))
    for precision in (Dense(matrix), Diagonal(matrix.diagonal())):
        q = Laplace(Q.mean, precision)
        assert q.log_density(Q.mean).item() == 0
        assert all(q.log_density(Q.mean + delta).item() < 0 for delta in torch.eye(3, dtype=torch.float64))


def test_dense_precision_grows_by_the_hessian():
    z, classifier, theta = blobs(8, seed=1), Classifier(logistic()), torch.zeros(15, dtype=torch.float64)
    grown = Dense(torch.eye(15, dtype=torch.float64)).updated(Factor(z, 1), theta, classifier)
    # At θ = 0 every class has probability 1/3, so −∇²log p is (diag p − ppᵀ) ⊗ (x, 1)(x, 1)ᵀ.
    x = np.concatenate([z.inputs.numpy(), np.ones((8, 1))], axis=1)
    spread = np.eye(3) / 3 - np.ones((3, 3)) / 9
    by_weight_then_bias = np.argsort([*(5 * k + j for k in range(3) for j in range(4)), 4, 9, 14])
    expected = np.kron(spread, x.T @ x)[np.ix_(np.argsort(by_weight_then_bias), np.argsort(by_weight_then_bias))]
    np.testing.assert_allclose(grown.matrix - torch.eye(15), expected, atol=1e-12)


@pytest.mark.parametrize("precision", [Diagonal(torch.full((3,), 0.01).double()), Dense(0.01 * torch.eye(3).double())])
def test_deleting_what_was_never_learnt_raises(precision):
    with pytest.raises(FloatingPointError, match="precision"):
        precision.updated(Factor(regression(5, seed=1), -1), Q.mean, GAUSSIAN)


def test_a_precision_that_only_rounding_makes_negative_is_clamped_to_zero():
    z = regression(50, seed=1)
    z = type(z)(z.ids, z.inputs.float(), z.labels)
    nothing, theta = Diagonal(torch.zeros(3)), Q.mean.float()
    back = nothing.updated(Factor(z, 1), theta, GAUSSIAN).updated(Factor(z, -1), theta, GAUSSIAN)
    assert back.values.min().item() >= 0
    assert back.values.max().item() < 1e-2
