"""EWC-deletion: its objective, and which θ it selects."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.posterior import laplace
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment import ewc_deletion
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.types import Causes, Examples


@pytest.fixture
def causes(task):
    return Causes(tuple(sorted(task.corrupted)))


def theta_of(model):
    return Classifier(model).theta_hat


def relabelled(rows, label):
    return replace(rows, labels=torch.full_like(rows.labels, label))


def test_the_model_stays_where_every_step_breaks_the_guard(task, causes):
    wrong = replace(task.tests, guard=relabelled(task.tests.query, 2))
    repaired = EWCDeletion(tolerance=0.5).repaired(replace(task, tests=wrong), causes)
    assert torch.equal(theta_of(repaired), task.theta_hat)


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.4, 0.7])
def test_no_more_of_the_guard_is_lost_than_tolerated(task, causes, tolerance):
    # The guard holds cases that the model gets right only for the causes' sake, so that forgetting them costs it.
    endangered = relabelled(task.tests.query, 1)
    tests = replace(task.tests, guard=endangered)
    assert accuracy(task.classifier.module(task.theta_hat), endangered) == 1
    repaired = EWCDeletion(tolerance=tolerance).repaired(replace(task, tests=tests), causes)
    watched, _ = watched_and_trained(endangered)
    assert accuracy(repaired, watched) >= 1 - tolerance
    unguarded = EWCDeletion(tolerance=0.999).repaired(
        replace(task, tests=replace(tests, guard=task.tests.guard)), causes
    )
    assert accuracy(unguarded, watched) < 1 - tolerance


def test_deleting_the_mislabelled_rows_repairs_within_the_guard(task, causes):
    repaired = EWCDeletion().repaired(task, causes)
    assert accuracy(repaired, task.tests.query) > 0.9
    assert accuracy(repaired, task.tests.guard) >= 0.98


def test_the_causes_become_less_likely(task, causes):
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


def test_query_cases_are_not_read(task, causes):
    tests = replace(task.tests, query=relabelled(task.tests.query, 2))
    once = EWCDeletion().repaired(task, causes)
    blind = EWCDeletion().repaired(replace(task, tests=tests, generator=torch.Generator().manual_seed(0)), causes)
    assert torch.equal(theta_of(once), theta_of(blind))


def test_nothing_to_delete_leaves_the_model(task):
    assert torch.equal(theta_of(EWCDeletion().repaired(task, Causes(()))), task.theta_hat)


def test_no_row_of_the_guard_is_both_watched_and_trained_on(task):
    watched, trained = watched_and_trained(task.tests.guard)
    assert [*watched.ids, *trained.ids] == task.tests.guard.ids.tolist()
    assert len(watched) == len(trained)
    assert len(watched_and_trained(Examples.concat([task.tests.guard] * 30))[0]) == 1000


@pytest.mark.parametrize(("objective", "rho"), [("likelihood", 0.0), ("unlikelihood", 2.0)])
def test_the_causes_are_deleted_and_the_guard_weighs_rho_times_as_much(task, causes, monkeypatch, objective, rho):
    asked = []

    class Asked(EWC):
        def update(self, q, factors, log_lik):
            asked.append((self.deleted, factors))
            return q

    monkeypatch.setattr(ewc_deletion, "EWC", Asked)
    EWCDeletion(objective=objective, guard_rho=rho).repaired(task, causes)
    ((deleted, (forgotten, *guard)),) = asked
    assert deleted == objective
    assert frozenset(forgotten.examples.ids) == task.corrupted
    assert forgotten.power == -1
    assert sum(len(factor.examples) * factor.power for factor in guard) == pytest.approx(rho * len(causes))


def test_the_papers_stopping_reads_the_accuracy_on_query_tuning_alone(task, causes, monkeypatch):
    asked = []

    def recorded(*args):
        asked.append(args)
        return lambda objective, weights, start: start

    monkeypatch.setattr(ewc_deletion, "early_stopped", recorded)
    wrong = replace(task, tests=replace(task.tests, guard=relabelled(task.tests.query, 2)))
    EWCDeletion(stopping="paper").repaired(wrong, causes)
    ((given, rows, score),) = asked
    assert given is wrong
    assert frozenset(rows.ids) == task.corrupted
    repaired = theta_of(EWCDeletion().repaired(task, causes))
    assert (score(task.theta_hat), score(repaired)) == (0, 1)


def test_the_control_deletes_nothing_and_is_the_same_in_all_else(task, causes, monkeypatch):
    seen = []

    class Kept(EWC):
        def update(self, q, factors, log_lik):
            seen.append(factors)
            return q

    monkeypatch.setattr(ewc_deletion, "EWC", Kept)
    EWCDeletion().repaired(task, causes)
    EWCDeletion(objective="nothing").repaired(task, causes)
    (deleted, guard), (guard_alone,) = seen
    assert deleted.power == -1
    assert guard_alone.power == guard.power
    assert guard_alone.examples.ids.tolist() == guard.examples.ids.tolist()


def test_deleting_nothing_without_a_guard_changes_nothing(task, causes):
    repaired = EWCDeletion(objective="nothing", guard_rho=0).repaired(task, causes)
    assert torch.equal(theta_of(repaired), task.theta_hat)
