"""EWC-deletion, whose objective is unbounded: its stopping rule decides what comes out."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.maximise import EarlyStopped
from repair_pipeline.continual.posterior import laplace
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment import ewc_deletion
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.types import Causes


@pytest.fixture
def causes(task):
    return Causes(tuple(sorted(task.corrupted)))


@pytest.fixture
def strides(monkeypatch):
    """Long steps, so that a few of them forget the causes and break what stands in the way."""

    def striding(*args, **settings):
        return EarlyStopped(*args, **{**settings, "learning_rate": 0.03, "check_every": 1})

    monkeypatch.setattr(ewc_deletion, "EarlyStopped", striding)


def theta_of(model):
    return Classifier(model).theta_hat


def relabelled(rows, label):
    return replace(rows, labels=torch.full_like(rows.labels, label))


def test_the_model_stays_where_every_step_breaks_the_guard(task, causes, strides):
    wrong = replace(task.tests, guard=relabelled(task.tests.query, 2))
    repaired = EWCDeletion(tolerance=0.5).repaired(replace(task, tests=wrong), causes)
    assert torch.equal(theta_of(repaired), task.theta_hat)


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.4, 0.7])
def test_no_more_of_the_guard_is_lost_than_tolerated(task, causes, strides, tolerance):
    # The guard holds cases that the model gets right only for the causes' sake, so that forgetting them costs it.
    endangered = relabelled(task.tests.query, 1)
    tests = replace(task.tests, guard=endangered)
    assert accuracy(task.classifier.module(task.theta_hat), endangered) == 1
    repaired = EWCDeletion(tolerance=tolerance).repaired(replace(task, tests=tests), causes)
    assert accuracy(repaired, endangered) >= 1 - tolerance
    unguarded = EWCDeletion(tolerance=0.999).repaired(
        replace(task, tests=replace(tests, guard=task.tests.guard)), causes
    )
    assert accuracy(unguarded, endangered) < 1 - tolerance


def test_deleting_the_mislabelled_rows_repairs_within_the_guard(task, causes, strides):
    repaired = EWCDeletion().repaired(task, causes)
    assert accuracy(repaired, task.tests.query) > 0.9
    assert accuracy(repaired, task.tests.guard) >= 0.98


def test_the_causes_become_less_likely(task, causes, strides):
    repaired = theta_of(EWCDeletion().repaired(task, causes))
    rows = task.fit[task.fit.having(task.corrupted)]
    before, after = (log_likelihoods(task.classifier, theta, rows).mean() for theta in (task.theta_hat, repaired))
    assert after < before - 1


@pytest.mark.parametrize(("given", "used"), [(None, 2 / 216), (0.3, 0.3)], ids=["its own", "given"])
def test_gamma_is_the_posteriors_own_unless_given(task, causes, monkeypatch, given, used):
    asked = []
    monkeypatch.setattr(ewc_deletion, "laplace", lambda *args: asked.append(args) or laplace(*args))
    EWCDeletion(gamma=given).repaired(task, causes)
    ((theta_hat, fisher, gamma),) = asked
    assert theta_hat is task.theta_hat
    assert fisher is task.fisher
    assert gamma == used


def test_query_cases_are_not_read(task, causes, strides):
    tests = replace(task.tests, query=relabelled(task.tests.query, 2))
    once = EWCDeletion().repaired(task, causes)
    blind = EWCDeletion().repaired(replace(task, tests=tests, generator=torch.Generator().manual_seed(0)), causes)
    assert torch.equal(theta_of(once), theta_of(blind))


def test_nothing_to_delete_leaves_the_model(task):
    assert torch.equal(theta_of(EWCDeletion().repaired(task, Causes(()))), task.theta_hat)
