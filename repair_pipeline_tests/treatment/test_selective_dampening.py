"""SSD against its formula, written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.treatment.selective_dampening import SelectiveDampening
from repair_pipeline.types import Causes
from repair_pipeline_tests.oracles import softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic


@pytest.fixture
def regression_task(task):
    classifier, rows = Classifier(logistic()), blobs(60, seed=4)
    fisher = fisher_diagonal(classifier, classifier.theta_hat, rows)
    return replace(task, classifier=classifier, fit=rows, fisher=fisher)


@pytest.mark.parametrize(("alpha", "strength"), [(1.2, 1.0), (1.2, 1.4), (1.6, 0.5)])
def test_parameters_that_matter_far_more_to_the_causes_shrink_by_the_ratio(regression_task, alpha, strength):
    task = regression_task
    causes = Causes(tuple(task.fit.ids[:5]))
    theta = task.theta_hat.numpy()
    gradients = softmax_gradients(
        theta[:12].reshape(3, 4), theta[12:], task.fit.inputs.numpy(), task.fit.labels.numpy()
    )
    expected = []
    for value, squares in zip(theta, (gradients**2).T, strict=True):
        of_causes, of_all = squares[:5].mean(), squares.mean()
        expected.append(value * min(strength * of_all / of_causes, 1) if of_causes > alpha * of_all else value)
    repaired = SelectiveDampening(alpha=alpha, strength=strength).repaired(task, causes)
    np.testing.assert_allclose(Classifier(repaired).theta_hat.numpy(), expected, rtol=1e-12)
    assert 0 < (np.array(expected) != theta).sum() < len(theta)


def test_too_large_a_set_of_causes_is_beyond_reach(regression_task):
    # F̂(C) ≤ (N / |C|) F̂(D), whatever the rows.
    causes = Causes(tuple(regression_task.fit.ids[:6]))
    repaired = SelectiveDampening(alpha=10).repaired(regression_task, causes)
    assert torch.equal(Classifier(repaired).theta_hat, regression_task.theta_hat)
    assert not torch.equal(
        Classifier(SelectiveDampening(alpha=1.2).repaired(regression_task, causes)).theta_hat, regression_task.theta_hat
    )


def test_no_causes_leave_the_model(regression_task):
    repaired = SelectiveDampening().repaired(regression_task, Causes(()))
    assert torch.equal(Classifier(repaired).theta_hat, regression_task.theta_hat)
