"""SGD's trajectory and its replay, against torch's own optimiser and actual leaving-out."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.trajectory import change_if_left_out, epochs_of_batches, run_sgd
from repair_pipeline_tests.problems import LinearGaussian, blobs, regression, seeded

ROWS, TARGETS = blobs(24, seed=1), blobs(15, seed=2)


def network() -> nn.Module:
    return seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))


def batches(epochs=3, size=6, rows=ROWS):
    return epochs_of_batches(len(rows), size, epochs, torch.Generator().manual_seed(3))


def trained(steps, learning_rate, weights) -> nn.Module:
    """The network after torch's SGD over the batches, each loss times its row's weight, each divisor kept."""
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=learning_rate)
    for batch in steps:
        optimiser.zero_grad()
        losses = nn.functional.cross_entropy(model(ROWS.inputs[batch]), ROWS.labels[batch], reduction="none")
        ((weights[batch] * losses).sum() / len(batch)).backward()
        optimiser.step()
    return model


@torch.no_grad()
def log_p_of_targets(model: nn.Module) -> float:
    return -nn.functional.cross_entropy(model(TARGETS.inputs), TARGETS.labels, reduction="sum").item()


def one_weighs(row: int, weight: float) -> torch.Tensor:
    weights = torch.ones(len(ROWS), dtype=torch.float64)
    weights[row] = weight
    return weights


def estimated(steps, learning_rate, spacing=4):
    classifier = Classifier(network())
    trajectory = run_sgd(classifier, classifier.theta_hat, ROWS, steps, learning_rate, spacing)
    gradient = classifier.gradients(trajectory.end, TARGETS).sum(dim=0)
    return change_if_left_out(trajectory, classifier, ROWS, gradient)


def left_out(steps, learning_rate):
    whole = log_p_of_targets(trained(steps, learning_rate, torch.ones(len(ROWS), dtype=torch.float64)))
    return np.array(
        [log_p_of_targets(trained(steps, learning_rate, one_weighs(row, 0))) - whole for row in range(len(ROWS))]
    )


def test_the_trajectory_is_sgds():
    steps, classifier = batches(), Classifier(network())
    end = run_sgd(classifier, classifier.theta_hat, ROWS, steps, 0.3, 4).end
    model = trained(steps, 0.3, torch.ones(len(ROWS), dtype=torch.float64))
    torch.testing.assert_close(end, Classifier(model).theta_hat, rtol=1e-10, atol=1e-12)


def test_the_estimate_is_the_derivative_by_the_rows_weight():
    steps, h = batches(), 1e-5
    derivatives = [
        log_p_of_targets(trained(steps, 0.3, one_weighs(row, 1 - h)))
        - log_p_of_targets(trained(steps, 0.3, one_weighs(row, 1 + h)))
        for row in range(len(ROWS))
    ]
    np.testing.assert_allclose(estimated(steps, 0.3), np.array(derivatives) / (2 * h), rtol=1e-6, atol=1e-9)


def test_the_estimate_agrees_with_leaving_each_row_out_of_the_trajectory():
    steps = batches(epochs=6)
    estimate, actual = estimated(steps, 0.05), left_out(steps, 0.05)
    assert pearsonr(estimate, actual).statistic >= 0.95
    assert spearmanr(estimate, actual).statistic >= 0.95


def test_the_estimate_tends_to_leaving_out_as_the_learning_rate_falls():
    def error(learning_rate):
        estimate, actual = estimated(batches(), learning_rate).numpy(), left_out(batches(), learning_rate)
        return np.linalg.norm(estimate - actual) / np.linalg.norm(actual)

    errors = [error(learning_rate) for learning_rate in (0.1, 0.01, 0.001)]
    assert errors[2] < 0.01
    assert errors[2] < errors[1] / 5 < errors[0] / 25


def test_on_a_quadratic_the_estimate_is_the_recursion_by_hand():
    rows = regression(12, seed=4)
    steps = batches(size=4, rows=rows)
    log_lik, learning_rate, goal = LinearGaussian(0.7), 0.05, torch.tensor([1.0, -2.0, 0.5]).double()
    trajectory = run_sgd(log_lik, torch.zeros(3).double(), rows, steps, learning_rate, spacing=2)
    x, y = rows.inputs[:, :-1], rows.inputs[:, -1]
    # Forwards, where the package goes backwards: dθ_t/dw of each row, carried along the trajectory.
    theta, sensitivity = torch.zeros(3).double(), torch.zeros(12, 3).double()
    for batch in steps:
        gradients = (y[batch] - x[batch] @ theta)[:, None] * x[batch] / 0.7**2
        hessian = x[batch].T @ x[batch] / len(batch) / 0.7**2
        sensitivity = sensitivity - learning_rate * sensitivity @ hessian
        sensitivity[batch] += learning_rate * gradients / len(batch)
        theta = theta + learning_rate * gradients.mean(dim=0)
    torch.testing.assert_close(
        change_if_left_out(trajectory, log_lik, rows, goal), -sensitivity @ goal, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("spacing", [1, 3, 7, 20, 100])
def test_the_spacing_of_checkpoints_changes_no_value(spacing):
    assert torch.equal(estimated(batches(), 0.3, spacing), estimated(batches(), 0.3))


def test_checkpoints_are_every_few_steps_and_the_end():
    classifier = Classifier(network())

    def checkpoints(steps, spacing):
        return run_sgd(classifier, classifier.theta_hat, ROWS, steps, 0.3, spacing).checkpoints

    steps = batches(epochs=1, size=2)[:10]
    every = checkpoints(steps, 1)
    assert torch.equal(checkpoints(steps, 4), every[[0, 4, 8, 10]])
    assert torch.equal(checkpoints(steps, 5), every[[0, 5, 10]])


def test_a_row_that_is_in_no_batch_scores_zero():
    steps = tuple(batch[batch != 5] for batch in batches())
    values = estimated(steps, 0.3)
    assert (values == 0).nonzero().flatten().tolist() == [5]


def test_an_epoch_reads_every_row_once_in_batches_of_like_size():
    drawn = epochs_of_batches(41, 8, 3, torch.Generator().manual_seed(0))
    assert [len(batch) for batch in drawn] == 3 * [7, 7, 7, 7, 7, 6]
    for epoch in (drawn[:6], drawn[6:12], drawn[12:]):
        assert torch.cat(epoch).sort().values.tolist() == list(range(41))


def test_a_trajectory_that_diverges_raises():
    rows = regression(12, seed=4)
    steps = 400 * (torch.arange(12),)
    with pytest.raises(FloatingPointError, match=r"diverged.*learning rate below 50"):
        run_sgd(LinearGaussian(0.7), torch.zeros(3).double(), rows, steps, 50.0, 20)
