"""EWC's objective, against Eq. 10 and Eq. 15 written out by hand."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import forget, learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline_tests.oracles import Newton, central_differences, softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic

FEATURES, CLASSES, N = 4, 3, 30
PRIOR = 0.2
D, Z, GUARD = blobs(N, seed=1), blobs(12, seed=2), blobs(9, seed=3)


def by_hand(theta, z):
    """Per-sample gradients at θ, whose first twelve entries are the weight."""
    weight, bias = theta[:12].reshape(CLASSES, FEATURES).numpy(), theta[12:].numpy()
    return softmax_gradients(weight, bias, z.inputs.numpy(), z.labels.numpy())


@dataclass
class Recorder:
    """A maximiser that keeps what it is asked to maximise and goes nowhere."""

    asked: list = field(default_factory=list)

    def __call__(self, objective, weights, start):
        self.asked.append((objective, weights))
        return start


@pytest.fixture
def classifier():
    return Classifier(logistic(FEATURES, CLASSES))


@pytest.fixture
def theta(classifier):
    return classifier.theta_hat + 0.3 * torch.randn(15, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def q(classifier):
    fisher = (by_hand(classifier.theta_hat, D) ** 2).mean(axis=0)
    return laplace(classifier.theta_hat, torch.tensor(fisher), gamma=2 / N, prior=PRIOR)


def penalty_gradient(classifier, theta):
    """−N F̂ (θ − θ̂) − λ (θ − θ̂)."""
    delta = (theta - classifier.theta_hat).numpy()
    fisher = (by_hand(classifier.theta_hat, D) ** 2).mean(axis=0)
    return -N * fisher * delta - PRIOR * delta


@pytest.mark.parametrize(("update", "sign"), [(learn, 1), (forget, -1)], ids=["eq10", "eq15"])
def test_the_objectives_gradient_is_the_papers(classifier, theta, q, update, sign):
    recorder = Recorder()
    update(EWC(recorder, precision="frozen"), q, Z, classifier)
    ((objective, weights),) = recorder.asked
    assert (weights == 1).all()
    gradient = jacobian(lambda at: objective(at, torch.arange(len(Z))), theta)
    expected = sign * by_hand(theta, Z).sum(axis=0) + penalty_gradient(classifier, theta)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def test_batches_of_an_epoch_average_to_the_whole_objective(classifier, theta, q):
    recorder = Recorder()
    learn(EWC(recorder, precision="frozen"), q, Z, classifier)
    ((objective, _),) = recorder.asked
    whole = objective(theta, torch.arange(len(Z))).item()
    quarters = [objective(theta, batch).item() for batch in torch.arange(len(Z)).split(3)]
    assert np.mean(quarters) == pytest.approx(whole, rel=1e-12)


def test_rows_are_drawn_by_their_power_and_stand_in_with_their_sign(classifier, theta, q):
    recorder, tau = Recorder(), 0.35
    learn(EWC(recorder, precision="frozen"), q, Z, classifier, guard=Factor(GUARD, tau))
    ((objective, weights),) = recorder.asked
    share = (weights / weights.sum()).numpy()
    per_row = [jacobian(lambda at, i=i: objective(at, torch.tensor([i])), theta).numpy() for i in range(len(weights))]
    expected = by_hand(theta, Z).sum(axis=0) + tau * by_hand(theta, GUARD).sum(axis=0)
    np.testing.assert_allclose(share @ np.array(per_row), expected + penalty_gradient(classifier, theta), rtol=1e-10)


def test_what_is_learnt_is_a_stationary_point_of_eq_10(classifier, q):
    learned = learn(EWC(Newton(), precision="frozen"), q, Z, classifier).mean
    gradient = by_hand(learned, Z).sum(axis=0) + penalty_gradient(classifier, learned)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    assert classifier(learned, Z).sum() > classifier(classifier.theta_hat, Z).sum()


def test_the_update_leaves_the_posterior_it_was_given(classifier, q):
    mean, values = q.mean.clone(), q.precision.values.clone()
    learn(EWC(Newton()), q, Z, classifier)
    assert torch.equal(q.mean, mean)
    assert torch.equal(q.precision.values, values)


def test_unlikelihood_deletes_by_the_evidence_that_the_labels_are_wrong(classifier, q, theta):
    recorder = Recorder()
    learner = EWC(recorder, precision="frozen", deleted="unlikelihood")
    learner.update(q, [Factor(Z, -1), Factor(GUARD, 0.5)], classifier)
    objective, weights = recorder.asked[0]
    assert weights.tolist() == [1.0] * len(Z) + [0.5] * len(GUARD)

    def expected(at):
        """Σ_Z log(1 − p(z|θ)) + ½ Σ_B log p(z|θ) + log q(θ), by hand."""
        logits = [part.inputs @ at[:12].reshape(CLASSES, FEATURES).T + at[12:] for part in (Z, GUARD)]
        wrong, right = (
            p.softmax(dim=1)[range(len(p)), part.labels] for p, part in zip(logits, (Z, GUARD), strict=True)
        )
        delta = at - classifier.theta_hat
        fisher = torch.tensor((by_hand(classifier.theta_hat, D) ** 2).mean(axis=0))
        held = -0.5 * N * (fisher * delta**2).sum() - 0.5 * PRIOR * (delta**2).sum()
        return (1 - wrong).log().sum() + 0.5 * right.log().sum() + held

    # Batches are drawn by weight: every row of Z twice and every row of the guard once.
    batch = torch.cat([torch.arange(len(Z)), torch.arange(len(Z)), len(Z) + torch.arange(len(GUARD))])
    torch.testing.assert_close(objective(theta, batch), expected(theta), rtol=1e-12, atol=0)
    slope = jacobian(lambda at: objective(at, batch), theta)
    torch.testing.assert_close(slope, central_differences(expected, theta), rtol=1e-6, atol=1e-6)


def test_a_certain_row_is_deleted_without_infinities(classifier, q):
    recorder = Recorder()
    certain = replace(Z, source=1e6 * classifier.theta_hat[:12].reshape(CLASSES, FEATURES)[Z.labels])
    assert (classifier(q.mean, certain) == 0).any()
    EWC(recorder, precision="frozen", deleted="unlikelihood").update(q, [Factor(certain, -1)], classifier)
    objective, _ = recorder.asked[0]
    batch = torch.arange(len(Z))
    assert objective(q.mean, batch).isfinite()
    assert jacobian(lambda at: objective(at, batch), q.mean).isfinite().all()


def test_unlikelihood_has_no_precision_to_update():
    with pytest.raises(ValueError, match="use precision=frozen"):
        EWC(Newton(), deleted="unlikelihood")
