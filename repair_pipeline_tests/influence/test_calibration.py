"""Scores of an influence method, calibrated on clean rows that its runs have not learnt."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.calibrated import calibrated
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.problem.cross_fit import FOLDS
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples, InfluenceScores


class _Recorder:
    """Scores rows by their first input, and remembers what each run read."""

    def __init__(self):
        self.runs = []

    def scores(self, task):
        self.runs.append(task)
        return InfluenceScores(task.fit.ids, task.fit.inputs.flatten(1)[:, 0].double())


def test_no_run_learns_the_clean_rows_that_it_scores(task):
    method = _Recorder()
    scores = calibrated(method, task)
    clean = {*task.tests.query.ids, *task.tests.guard.ids}
    scored = []
    for run in method.runs:
        held_out = set(run.fit.ids[len(task.fit) :])
        learnt = {*run.tests.query.ids, *run.tests.guard.ids}
        assert held_out.isdisjoint(learnt)
        assert held_out | learnt == clean
        assert len(run.log_lik_hat) == len(run.fit)
        scored += sorted(held_out)
    assert len(method.runs) == FOLDS
    assert sorted(scored) == sorted(clean)
    assert (scores.ids == task.fit.ids).all()
    torch.testing.assert_close(scores.values, task.fit.inputs.flatten(1)[:, 0].double())


def test_failures_count_as_little_as_the_model_gets_rows_of_d_wrong(task):
    base = task.classifier.module(task.theta_hat)
    memorised = replace(task, fit=replace(task.fit, labels=predictions(base, task.fit)))
    query = task.tests.query
    harder = Examples(query.ids, query.inputs + 100, query.labels)

    def probability(of, failures):
        streamed = replace(of, tests=replace(of.tests, query=failures), generator=torch.Generator().manual_seed(0))
        return calibrated(_Recorder(), streamed).probability

    assert torch.equal(probability(memorised, query), probability(memorised, harder))
    assert not torch.equal(probability(task, query), probability(task, harder))


def test_the_planted_rows_are_likelier_harmful(task):
    scores = calibrated(EWCInfluence(), task)
    planted = task.fit.having(task.corrupted)
    assert scores.probability is not None
    assert scores.probability[planted].mean() > 2 * scores.probability[~planted].mean()


def test_too_few_failures_cannot_calibrate(task):
    few = replace(task, tests=replace(task.tests, query=task.tests.query[:3]))
    with pytest.raises(InputError, match="3 query failures are too few"):
        calibrated(Loss(), few)
