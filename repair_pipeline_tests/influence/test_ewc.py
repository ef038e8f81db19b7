"""EWC-influence end to end on the small network."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline.influence.ewc import EWCInfluence


def test_scores_are_the_drop_in_log_likelihood_under_learning_the_failures(task):
    scores = EWCInfluence(guard="none", reading="difference").scores(task)
    q = laplace(task.theta_hat, task.fisher, gamma=2 / len(task.fit))
    stream = OneCycle(torch.Generator().manual_seed(0))
    theta = learn(EWC(stream, "frozen"), q, task.tests.query, task.classifier).mean
    drop = task.classifier(task.theta_hat, task.fit) - task.classifier(theta, task.fit)
    torch.testing.assert_close(scores.values, drop, rtol=1e-10, atol=1e-12)


def test_the_guard_is_a_factor_that_weighs_rho_times_the_failures(task):
    scores = EWCInfluence(guard_rho=0.5, reading="difference").scores(task)
    failures, pool = len(task.tests.query), len(task.tests.guard)
    assert scores.notes == {
        "gamma": 2 / len(task.fit),
        "failures": failures,
        "guard_cases": pool,
        "guard_tau": 0.5 * failures / pool,
        "guard_rho": 0.5,
    }
    stream = torch.Generator().manual_seed(0)
    q = laplace(task.theta_hat, task.fisher, gamma=2 / len(task.fit))
    guard = Factor(task.tests.guard, 0.5 * failures / pool)
    theta = learn(EWC(OneCycle(stream), "frozen"), q, task.tests.query, task.classifier, guard).mean
    drop = task.classifier(task.theta_hat, task.fit) - task.classifier(theta, task.fit)
    torch.testing.assert_close(scores.values, drop, rtol=1e-10, atol=1e-12)


def test_guard_ratio_fixes_how_many_cases_guard(task):
    notes = EWCInfluence(guard_ratio=0.5).scores(task).notes
    assert notes["guard_cases"] == len(task.tests.query) / 2
    assert notes["guard_tau"] == 2


def test_the_papers_guard_is_none(task):
    notes = EWCInfluence(guard="none").scores(task).notes
    assert (notes["guard_cases"], notes["guard_tau"], notes["guard_rho"]) == (0, 0, 0)


@pytest.mark.parametrize("weaker", [{"gamma": 10.0}, {"prior": 0.0}])
def test_a_weaker_hold_on_theta_hat_lets_the_causes_move_further(task, weaker):
    def harm(**settings):
        again = replace(task, generator=torch.Generator().manual_seed(0))
        return EWCInfluence(guard="none", **settings).scores(again).values[task.fit.having(task.corrupted)].mean()

    assert harm(**weaker) > harm(prior=20.0)


def test_the_papers_stopping_reads_the_tuning_rows_and_nothing_else_of_the_tests(task):
    def values(**changes):
        again = replace(task, generator=torch.Generator().manual_seed(0), tests=replace(task.tests, **changes))
        return EWCInfluence(stopping="paper", guard="none", reading="difference").scores(again).values

    relabelled = replace(task.tests.query_tuning, labels=torch.ones_like(task.tests.query_tuning.labels))
    assert torch.equal(values(), values(guard=task.tests.guard[:3]))
    assert (values() != 0).any()
    # Under these labels learning the failures only makes things worse, so the start is kept and nothing is harmful.
    assert (values(query_tuning=relabelled) == 0).all()
