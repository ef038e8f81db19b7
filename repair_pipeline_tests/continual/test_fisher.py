"""The Fisher's diagonal, against loops and finite differences."""

import pytest
import torch
from torch import nn

from repair_pipeline.continual.fisher import fisher_diagonal, gradients_at_once, labels_of, squared_gradients
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline_tests.oracles import central_differences, gauss_newton
from repair_pipeline_tests.problems import blobs, logistic, seeded

ROWS = blobs(23, seed=1)


def network() -> nn.Module:
    return seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))


def of_kind(kind, classifier, generator=None):
    labels = labels_of(kind, classifier, generator or torch.Generator().manual_seed(0))
    return fisher_diagonal(classifier, classifier.theta_hat, ROWS, 7, labels=labels)


def relative_difference(a, b):
    return ((a - b).norm() / b.norm()).item()


def test_fisher_is_a_loop_over_samples():
    model, total = network(), 0
    for x, y in zip(ROWS.inputs, ROWS.labels, strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(x[None]), y[None]).backward()
        total = total + torch.cat([parameter.grad.flatten() for parameter in model.parameters()]) ** 2
    classifier = Classifier(model)
    torch.testing.assert_close(
        fisher_diagonal(classifier, classifier.theta_hat, ROWS), total / len(ROWS), rtol=1e-10, atol=1e-14
    )


def test_fisher_is_the_mean_square_of_finite_differences():
    classifier = Classifier(network())
    jacobian = central_differences(lambda theta: classifier(theta, ROWS), classifier.theta_hat)
    torch.testing.assert_close(
        fisher_diagonal(classifier, classifier.theta_hat, ROWS), jacobian.square().mean(dim=0), rtol=1e-6, atol=1e-10
    )


def test_fisher_is_not_the_square_of_the_batch_gradient():
    # At a stationary point of the likelihood the batch's gradient is nil, and the information is not.
    rows = blobs(3, seed=1)
    rows = type(rows)(rows.ids, torch.ones(3, 4, dtype=torch.float64), rows.labels)
    classifier = Classifier(logistic())
    theta = torch.zeros(15, dtype=torch.float64)
    assert classifier.gradients(theta, rows).mean(dim=0).abs().max() < 1e-15
    torch.testing.assert_close(fisher_diagonal(classifier, theta, rows), torch.full((15,), 2 / 9).double())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_fisher_does_not_depend_on_batch_size_or_order(dtype, tolerance):
    classifier = Classifier(network().to(dtype))
    rows = type(ROWS)(ROWS.ids, ROWS.inputs.to(dtype), ROWS.labels)
    shuffled = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    whole = fisher_diagonal(classifier, classifier.theta_hat, rows)
    for other, batch_size in ((rows, 1), (rows, 7), (shuffled, 23), (shuffled, 4)):
        fisher = fisher_diagonal(classifier, classifier.theta_hat, other, batch_size)
        assert fisher.dtype == dtype
        assert relative_difference(fisher, whole) < tolerance


@pytest.mark.parametrize("kind", ["empirical", "expected"])
def test_every_kind_of_fisher_is_a_loop_over_rows_and_labels(kind):
    model = network()
    classifier, total = Classifier(model), 0
    for x, y in zip(ROWS.inputs, ROWS.labels, strict=True):
        share = model(x[None]).softmax(dim=1)[0].detach() if kind == "expected" else torch.eye(3)[y]
        for label in range(3):
            model.zero_grad()
            model(x[None]).log_softmax(dim=1)[0, label].backward()
            total = (
                total + share[label] * torch.cat([parameter.grad.flatten() for parameter in model.parameters()]) ** 2
            )
    fisher = of_kind(kind, classifier)
    torch.testing.assert_close(fisher, total / len(ROWS), rtol=1e-10, atol=1e-14)


def test_the_expected_fisher_is_the_diagonal_of_the_generalised_gauss_newton_matrix():
    classifier = Classifier(network())
    matrix = gauss_newton(lambda theta: classifier.logits(theta, ROWS.inputs), classifier.theta_hat)
    torch.testing.assert_close(of_kind("expected", classifier), matrix.diagonal(), rtol=1e-6, atol=1e-10)


def test_drawn_labels_estimate_the_expected_fisher_without_bias():
    classifier, stream = Classifier(network()), torch.Generator().manual_seed(0)
    labels = labels_of("monte_carlo", classifier, stream)
    often = type(ROWS).concat([ROWS] * 1000)
    drawn = fisher_diagonal(classifier, classifier.theta_hat, often, 5000, labels=labels)
    expected = of_kind("expected", classifier)
    assert relative_difference(drawn, expected) < 0.05
    assert relative_difference(of_kind("empirical", classifier), expected) > 0.1


def test_the_same_stream_draws_the_same_labels():
    classifier = Classifier(network())
    first, again, other = (
        of_kind("monte_carlo", classifier, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_squared_gradients_add_up_over_shards():
    classifier = Classifier(network())
    theta = classifier.theta_hat
    parts = squared_gradients(classifier, theta, ROWS[:9]) + squared_gradients(classifier, theta, ROWS[9:])
    torch.testing.assert_close(parts, squared_gradients(classifier, theta, ROWS), rtol=1e-10, atol=1e-14)


def test_progress_reaches_its_end():
    seen = []
    classifier = Classifier(logistic())
    fisher_diagonal(classifier, classifier.theta_hat, ROWS, 10, lambda done, total: seen.append((done, total)))
    assert seen == [(10, 23), (20, 23), (23, 23)]


@pytest.mark.parametrize("scale", [1e4, float("nan")], ids=["saturated", "diverged"])
def test_a_penalty_that_would_weigh_nothing_raises(scale):
    classifier = Classifier(logistic())
    theta = torch.zeros(15, dtype=torch.float64)
    theta[12] = scale  # class 0 for certain
    rows = type(ROWS)(ROWS.ids, ROWS.inputs, torch.zeros_like(ROWS.labels))
    with pytest.raises(FloatingPointError, match="Fisher"):
        fisher_diagonal(classifier, theta, rows)


@pytest.mark.parametrize(("parameters", "due"), [(65_642, 100), (11_173_962, 24), (10**9, 1)])
def test_no_more_than_a_gibibyte_of_gradients_is_held(parameters, due):
    assert gradients_at_once(torch.empty(parameters, dtype=torch.float32, device="meta")) == due
