"""Potion against its steps, taken by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.treatment.potion import Potion
from repair_pipeline.types import Causes
from repair_pipeline_tests.problems import blobs, logistic


@pytest.fixture
def regression_task(task):
    return replace(task, classifier=Classifier(logistic()), fit=blobs(60, seed=4))


def importance(weight, bias, x):
    """The mean over rows of |∂‖Wx + b‖/∂(W, b)|, flat."""
    logits = x @ weight.T + bias
    unit = logits / np.sqrt((logits**2).sum(axis=1, keepdims=True))
    of_weight = np.abs(unit[:, :, None] * x[:, None, :]).mean(axis=0)
    return np.concatenate([of_weight.ravel(), np.abs(unit).mean(axis=0)])


@pytest.mark.parametrize(("rho", "reachable"), [(0.9, True), (0.3, False)])
def test_parameters_shrink_by_the_ratio_until_the_causes_are_forgotten(regression_task, rho, reachable):
    task = regression_task
    theta, x, labels = task.theta_hat.numpy(), task.fit.inputs.numpy(), task.fit.labels.numpy()
    weight, bias = theta[:12].reshape(3, 4), theta[12:]
    # Causes of one class that θ̂ gets right, as it does a trigger that it has learnt.
    causes = np.flatnonzero(((x @ weight.T + bias).argmax(axis=1) == labels) & (labels == 0))[:10]
    rest = np.setdiff1d(np.arange(60), causes)
    to_causes, to_rest = importance(weight, bias, x[causes]), importance(weight, bias, x[rest])
    share = 10 / 60 / 25
    for _ in range(500):
        alpha = np.percentile(to_causes / to_rest, 100 - np.log(1 + 100 * share))
        expected = np.where(to_causes > alpha * to_rest, np.minimum(to_rest / to_causes, 1) * theta, theta)
        logits = x[causes] @ expected[:12].reshape(3, 4).T + expected[12:]
        if forgotten := (logits.argmax(axis=1) == labels[causes]).mean() <= rho:
            break
        share *= 1.1
    assert forgotten == reachable
    repaired = Potion(rho=rho).repaired(task, Causes(tuple(task.fit.ids[causes])))
    np.testing.assert_allclose(Classifier(repaired).theta_hat.numpy(), expected, rtol=1e-9)
    assert not np.array_equal(expected, theta)


def test_labels_do_not_change_importances(regression_task):
    # Of the labels only the accuracy on the causes is read: none is right, so the first share is enough.
    wrong = replace(regression_task.fit, labels=regression_task.fit.labels * 0 + 5)
    causes = Causes(tuple(regression_task.fit.ids[:10]))
    one, other = (
        Classifier(Potion().repaired(replace(regression_task, fit=fit), causes)).theta_hat
        for fit in (wrong, replace(wrong, labels=wrong.labels + 1))
    )
    assert torch.equal(one, other)


def test_no_causes_leave_the_model(regression_task):
    repaired = Potion().repaired(regression_task, Causes(()))
    assert torch.equal(Classifier(repaired).theta_hat, regression_task.theta_hat)
