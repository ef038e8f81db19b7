"""Products with the full curvature, against dense matrices and finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian

from repair_pipeline.continual.curvature import Curvature, empirical_fisher, ggn
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline_tests.oracles import central_differences, softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic, seeded

ROWS = blobs(23, seed=1)
CURVATURES = {"empirical": empirical_fisher, "ggn": ggn}
every_curvature = pytest.mark.parametrize("make", CURVATURES.values(), ids=CURVATURES)


def network() -> Classifier:
    return Classifier(seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))))


def dense(curvature, size):
    return torch.stack([curvature.product(unit) for unit in torch.eye(size, dtype=torch.float64)])


def at_theta_hat(make, classifier, rows=ROWS):
    return make(classifier, classifier.theta_hat, rows)


def test_the_empirical_fisher_is_the_mean_outer_product_of_gradients():
    classifier = Classifier(logistic())
    weight, bias = classifier.theta_hat[:12].reshape(3, 4).numpy(), classifier.theta_hat[12:].numpy()
    gradients = softmax_gradients(weight, bias, ROWS.inputs.numpy(), ROWS.labels.numpy())
    actual = dense(at_theta_hat(empirical_fisher, classifier), 15)
    np.testing.assert_allclose(actual, gradients.T @ gradients / len(ROWS), rtol=1e-10, atol=1e-14)


def test_the_empirical_fisher_of_a_network_agrees_with_finite_differences():
    classifier = network()
    jacobian = central_differences(lambda theta: classifier(theta, ROWS), classifier.theta_hat)
    actual = dense(at_theta_hat(empirical_fisher, classifier), len(classifier.theta_hat))
    torch.testing.assert_close(actual, jacobian.T @ jacobian / len(ROWS), rtol=1e-6, atol=1e-9)


def test_the_empirical_fishers_diagonal_is_ewcs():
    classifier = network()
    actual = dense(at_theta_hat(empirical_fisher, classifier), len(classifier.theta_hat)).diagonal()
    torch.testing.assert_close(actual, fisher_diagonal(classifier, classifier.theta_hat, ROWS), rtol=1e-10, atol=1e-14)


def test_ggn_is_the_hessian_where_logits_are_linear():
    classifier = Classifier(logistic())
    exact = hessian(lambda theta: -classifier(theta, ROWS).mean(), classifier.theta_hat)
    torch.testing.assert_close(dense(at_theta_hat(ggn, classifier), 15), exact, rtol=1e-10, atol=1e-14)


def test_ggn_of_a_network_is_the_softmax_hessian_between_jacobians_of_the_logits():
    classifier, total = network(), 0
    for x in ROWS.inputs:
        jacobian = central_differences(lambda theta, x=x: classifier.logits(theta, x[None])[0], classifier.theta_hat)
        p = classifier.logits(classifier.theta_hat, x[None])[0].exp()
        p = p / p.sum()
        total = total + jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian
    actual = dense(at_theta_hat(ggn, classifier), len(classifier.theta_hat))
    torch.testing.assert_close(actual, total / len(ROWS), rtol=1e-6, atol=1e-9)


def test_ggn_reads_no_label():
    classifier, v = network(), torch.linspace(-1, 1, 43, dtype=torch.float64)
    wrong = replace(ROWS, labels=(ROWS.labels + 1) % 3)
    for make, blind in ((ggn, True), (empirical_fisher, False)):
        products = [at_theta_hat(make, classifier, rows).product(v) for rows in (ROWS, wrong)]
        assert torch.equal(*products) is blind


@every_curvature
def test_a_curvature_is_symmetric_and_positive_semi_definite(make):
    matrix = dense(at_theta_hat(make, network()), 43)
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-10, atol=1e-14)
    assert torch.linalg.eigvalsh(matrix)[0] > -1e-12


@every_curvature
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_a_product_does_not_depend_on_batch_size_or_order(make, dtype, tolerance):
    classifier = Classifier(seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).to(dtype))
    rows = replace(ROWS, source=ROWS.inputs.to(dtype), rows=None)
    v = torch.linspace(-1, 1, 43, dtype=torch.float64)
    whole = at_theta_hat(make, classifier, rows)
    shuffled = replace(whole, examples=rows[torch.randperm(23, generator=torch.Generator().manual_seed(0))])
    assert torch.equal(shuffled.product(v), whole.product(v))
    for size in (1, 7, 23):
        other = replace(whole, batch_size=size).product(v)
        assert (other - whole.product(v)).norm() < tolerance * whole.product(v).norm()


@pytest.fixture
def counted():
    """A curvature whose product counts how often each row is in it."""
    names = {name: at for at, name in enumerate(ROWS.ids)}

    def of_rows(rows, v):
        return torch.bincount(torch.tensor([names[name] for name in rows.ids]), minlength=len(ROWS)).double()

    return Curvature(of_rows, ROWS)


def test_a_product_holds_every_row_once(counted):
    torch.testing.assert_close(counted.product(torch.zeros(23).double()), torch.full((23,), 1 / 23).double())


def test_a_sampled_product_is_unbiased(counted, generator):
    draws = torch.stack([counted.sampled_product(torch.zeros(23).double(), 8, generator) for _ in range(2000)])
    assert (draws.sum(dim=1) - 1).abs().max() < 1e-12
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert ((draws.mean(dim=0) - 1 / 23).abs() < 4 * error).all()


def test_which_rows_are_drawn_does_not_depend_on_their_order(counted):
    def drawn(curvature):
        return curvature.sampled_product(torch.zeros(23).double(), 8, torch.Generator().manual_seed(3))

    assert torch.equal(drawn(replace(counted, examples=ROWS[torch.arange(22, -1, -1)])), drawn(counted))


@every_curvature
def test_the_quadratic_form_and_its_gradient_are_those_of_the_matrix(make):
    curvature = at_theta_hat(make, network())
    matrix = dense(curvature, 43)
    delta = torch.linspace(-1, 1, 43, dtype=torch.float64).requires_grad_(True)
    value = curvature.quadratic(delta)
    (slope,) = torch.autograd.grad(value, delta)
    at = delta.detach()
    torch.testing.assert_close(value.detach(), at @ matrix @ at, rtol=1e-9, atol=0)
    torch.testing.assert_close(slope, 2 * matrix @ at, rtol=1e-9, atol=1e-12)
