"""Newton update removal is Eq. 14."""

from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.autograd.functional import jacobian

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.solve import ConjugateResiduals
from repair_pipeline.treatment import newton
from repair_pipeline.treatment.newton import Newton
from repair_pipeline.types import Causes


@pytest.fixture
def causes(task):
    return Causes(tuple(sorted(task.corrupted)))


def theta_of(model):
    return Classifier(model).theta_hat


@pytest.mark.parametrize(("given", "used"), [(None, 1 / 216), (0.05, 0.05)], ids=["its own", "given"])
def test_the_step_is_eq_14(task, causes, monkeypatch, given, used):
    monkeypatch.setattr(newton, "ConjugateResiduals", partial(ConjugateResiduals, tolerance=1e-9, passes=500))
    slopes = jacobian(lambda theta: task.classifier(theta, task.fit), task.theta_hat).numpy()
    fisher = slopes.T @ slopes / len(slopes)
    damped = fisher + 0.01 * np.diag(fisher).mean() * np.eye(len(fisher))
    v = np.linalg.solve(damped, slopes[task.fit.having(causes.as_set).numpy()].sum(axis=0))
    repaired = theta_of(Newton(gamma=given).repaired(task, causes))
    np.testing.assert_allclose(repaired, task.theta_hat.numpy() - used * v, rtol=0, atol=1e-6 * used * np.abs(v).max())


@pytest.mark.parametrize("fisher", ["empirical", "expected"])
def test_the_causes_become_less_likely(task, causes, fisher):
    repaired = theta_of(Newton(fisher=fisher).repaired(task, causes))
    rows = task.fit[task.fit.having(task.corrupted)]
    assert task.classifier(repaired, rows).sum() < task.classifier(task.theta_hat, rows).sum() - 1


def test_nothing_to_delete_leaves_the_model(task):
    assert torch.equal(theta_of(Newton().repaired(task, Causes(()))), task.theta_hat)


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"gamma": -0.1}, {"damping": 0.0}])
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        Newton(**wrong)
