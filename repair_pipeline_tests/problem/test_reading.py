"""Readings of a pair of posteriors as influence."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.continual.posterior import laplace
from repair_pipeline.problem.reading import READINGS, difference, linear, posterior_loss
from repair_pipeline_tests.oracles import central_differences


def at(task, theta):
    return laplace(theta, task.fisher, gamma=1.0)


@pytest.mark.parametrize("reading", [difference, linear])
def test_nothing_learnt_is_no_influence(task, reading):
    q = at(task, task.theta_hat)
    assert (reading(task, q, q) == 0).all()


def test_what_becomes_less_likely_is_harmful(task):
    theta = task.theta_hat + 0.1
    drop = task.classifier(task.theta_hat, task.fit) - task.classifier(theta, task.fit)
    influence = difference(task, at(task, task.theta_hat), at(task, theta))
    torch.testing.assert_close(influence, drop, rtol=1e-10, atol=1e-12)
    assert (influence > 0).any()
    assert (influence < 0).any()


def test_linear_is_minus_the_step_along_the_gradient(task):
    before, step = task.theta_hat + 0.05, torch.linspace(-1, 1, len(task.theta_hat), dtype=torch.float64)
    gradients = central_differences(lambda theta: task.classifier(theta, task.fit), before)
    influence = linear(task, at(task, before), at(task, before + step))
    torch.testing.assert_close(influence, -(gradients @ step), rtol=1e-6, atol=1e-7)


def test_the_difference_tends_to_linear_as_the_step_goes_to_zero(task):
    before, direction = at(task, task.theta_hat), torch.ones_like(task.theta_hat)

    def error(step):
        after = at(task, task.theta_hat + step * direction)
        return (difference(task, before, after) - linear(task, before, after)).abs().max() / step

    assert error(1e-4) < 0.02 * error(1e-2)


def test_posterior_loss_reads_what_was_learnt_alone(task):
    after = at(task, task.theta_hat + 0.1)
    one, other = (posterior_loss(task, at(task, theta), after) for theta in (task.theta_hat, task.theta_hat - 1))
    assert torch.equal(one, other)
    torch.testing.assert_close(one, -task.classifier(after.mean, task.fit), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_shards_and_order_of_the_training_rows_change_no_score(task, reading):
    q, updated = at(task, task.theta_hat), at(task, task.theta_hat + 0.1)
    whole = reading(task, q, updated)
    for rows in (slice(0, 17), slice(17, None), torch.randperm(len(task.fit), generator=task.generator)):
        shard = replace(task, fit=task.fit[rows], log_lik_hat=task.log_lik_hat[rows])
        torch.testing.assert_close(reading(shard, q, updated), whole[rows], rtol=1e-10, atol=1e-12)
