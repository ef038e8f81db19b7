"""The natural-gradient step, against Bayes' rule and against EWC."""

import numpy as np
import pytest
import torch
from torch.func import grad

from repair_pipeline.continual.curvature import Curvature, empirical_fisher
from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.natural_gradient import NaturalGradientStep, PointEstimate
from repair_pipeline.continual.posterior import Dense, Factor, Laplace, Posterior
from repair_pipeline.continual.solve import ConjugateResiduals
from repair_pipeline.types import Examples
from repair_pipeline_tests.oracles import softmax_gradients
from repair_pipeline_tests.problems import LinearGaussian, blobs, logistic, regression

NOISE = 0.7
GAUSSIAN = LinearGaussian(NOISE)
EXACTLY = ConjugateResiduals(tolerance=1e-13, passes=60)
D, Z = blobs(40, seed=1), blobs(12, seed=2)
CLASSIFIER = Classifier(logistic())
DAMPING = 0.03


def by_hand(z):
    weight, bias = CLASSIFIER.theta_hat[:12].reshape(3, 4).numpy(), CLASSIFIER.theta_hat[12:].numpy()
    return softmax_gradients(weight, bias, z.inputs.numpy(), z.labels.numpy())


def step(gamma):
    return NaturalGradientStep(empirical_fisher(CLASSIFIER, CLASSIFIER.theta_hat, D), EXACTLY, DAMPING, gamma)


Q = PointEstimate(CLASSIFIER.theta_hat)


def least_squares(z):
    """The posterior's mean under a flat prior."""
    return torch.tensor(np.linalg.lstsq(z.inputs[:, :-1].numpy(), z.inputs[:, -1].numpy())[0])


def hessian_of(z):
    return Curvature(lambda rows, v: rows.inputs[:, :-1].T @ (rows.inputs[:, :-1] @ v) / NOISE**2, z)


def test_on_a_quadratic_learning_and_forgetting_are_bayes_rule():
    # The curvature is that of the posterior that is sought: with Z when Z is learnt, without it when it is forgotten.
    rest, z = regression(9, seed=2), regression(4, seed=3)
    both = Examples.concat([rest, z])
    inserted = NaturalGradientStep(hessian_of(both), EXACTLY, damping=1e-14, gamma=1 / len(both))
    deleted = NaturalGradientStep(hessian_of(rest), EXACTLY, damping=1e-14, gamma=1 / len(rest))
    learned = learn(inserted, PointEstimate(least_squares(rest)), z, GAUSSIAN)
    torch.testing.assert_close(learned.mean, least_squares(both), rtol=1e-9, atol=1e-10)
    forgotten = forget(deleted, PointEstimate(least_squares(both)), z, GAUSSIAN)
    torch.testing.assert_close(forgotten.mean, least_squares(rest), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("gamma", [2 / len(D), 0.3])
def test_the_first_fixed_point_iterate_of_eq_12_is_the_step_at_half_of_ewcs_gamma(gamma):
    fisher = torch.tensor(by_hand(D).T @ by_hand(D) / len(D)) + DAMPING * torch.eye(15, dtype=torch.float64)
    ewc = Laplace(CLASSIFIER.theta_hat, Dense(2 / gamma * fisher))
    iterate = learn(step(gamma / 2), Q, Z, CLASSIFIER).mean
    # Stationary for EWC's objective with log p(Z|θ) linear around θ̂.
    np.testing.assert_allclose(grad(ewc.log_density)(iterate), -by_hand(Z).sum(axis=0), rtol=1e-8, atol=1e-9)


def test_from_one_mean_forgetting_is_the_opposite_of_learning():
    there, away = learn(step(0.1), Q, Z, CLASSIFIER).mean, forget(step(0.1), Q, Z, CLASSIFIER).mean
    assert (there - Q.mean).norm() > 0.1
    torch.testing.assert_close(there - Q.mean, Q.mean - away, rtol=1e-10, atol=1e-13)


def test_forgetting_undoes_learning_to_first_order():
    def error(gamma):
        return (forget(step(gamma), learn(step(gamma), Q, Z, CLASSIFIER), Z, CLASSIFIER).mean - Q.mean).norm()

    assert error(1e-3) > 0
    assert error(1e-3) / error(1e-4) == pytest.approx(100, rel=0.05)


def test_factors_add_up_by_their_powers():
    guard = blobs(9, seed=3)
    at_once = step(0.1).update(Q, [Factor(Z, 1), Factor(guard, 0.35)], CLASSIFIER).mean
    alone = [step(0.1).update(Q, [Factor(rows, 1)], CLASSIFIER).mean - Q.mean for rows in (Z, guard)]
    torch.testing.assert_close(at_once, Q.mean + alone[0] + 0.35 * alone[1], rtol=1e-9, atol=1e-12)


def test_the_posterior_says_how_well_its_system_was_solved():
    curvature = empirical_fisher(CLASSIFIER, CLASSIFIER.theta_hat, D)
    learner = NaturalGradientStep(curvature, ConjugateResiduals(passes=1), DAMPING, gamma=1.0)
    learned = learn(learner, Q, Z, CLASSIFIER)
    fisher = by_hand(D).T @ by_hand(D) / len(D) + DAMPING * np.eye(15)
    g = by_hand(Z).sum(axis=0)
    residual = np.linalg.norm(fisher @ (learned.mean - Q.mean).numpy() - g) / np.linalg.norm(g)
    assert learned.residual == pytest.approx(residual, rel=1e-9)
    assert residual > 0.1
    assert Q.residual == 0


def test_a_point_estimate_is_a_posterior_that_expects_what_holds_at_its_mean():
    assert isinstance(Q, Posterior)
    torch.testing.assert_close(Q.expected_log_lik(CLASSIFIER, Z), CLASSIFIER(Q.mean, Z), rtol=1e-12, atol=0)
