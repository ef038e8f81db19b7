"""Influence as the difference between two posteriors."""

from dataclasses import replace

import torch

from repair_pipeline.continual.posterior import laplace
from repair_pipeline.continual.reading import difference


def updated(task, theta):
    return laplace(theta, task.fisher, gamma=1.0)


def test_nothing_learnt_is_no_influence(task):
    assert (difference(task, updated(task, task.theta_hat)) == 0).all()


def test_what_becomes_less_likely_is_harmful(task):
    theta = task.theta_hat + 0.1
    drop = task.classifier(task.theta_hat, task.fit) - task.classifier(theta, task.fit)
    influence = difference(task, updated(task, theta))
    torch.testing.assert_close(influence, drop, rtol=1e-10, atol=1e-12)
    assert (influence > 0).any()
    assert (influence < 0).any()


def test_shards_and_order_of_the_training_rows_change_no_score(task):
    q = updated(task, task.theta_hat + 0.1)
    whole = difference(task, q)
    for rows in (slice(0, 17), slice(17, None), torch.randperm(len(task.fit), generator=task.generator)):
        shard = replace(task, fit=task.fit[rows], log_lik_hat=task.log_lik_hat[rows])
        torch.testing.assert_close(difference(shard, q), whole[rows], rtol=1e-10, atol=1e-12)
