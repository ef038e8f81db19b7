"""P(harmful) from the scores of clean rows, and causes by their expected share of false ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.calibrated import calibrated
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.problem.calibration import harmful_probability, natural_weights
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.problem.cross_fit import FOLDS
from repair_pipeline.types import Examples, InfluenceScores, QuerySide


def _mixture(seed, clean=3000, harmful=1000, known=2000, shift=2.5):
    """Scores of D, which of its rows are harmful, and scores of known clean rows."""
    draw = np.random.default_rng(seed)
    values = np.concatenate([draw.normal(size=clean), draw.normal(shift, size=harmful)])
    return torch.tensor(values), np.arange(len(values)) >= clean, torch.tensor(draw.normal(size=known))


def _causes(values, null, bound=0.1):
    probability = harmful_probability(values, values, null, torch.ones(len(null), dtype=torch.float64))
    scores = InfluenceScores(np.arange(len(values)).astype(str), values, probability=probability)
    return CausesRule(fdr=bound).causes(scores, planted=0)


def test_the_probability_is_that_of_the_mixture():
    values, _, null = _mixture(0, 30_000, 10_000, 20_000)
    at = torch.linspace(-1, 4, 26, dtype=torch.float64)
    true = 0.25 * norm.pdf(at, 2.5) / (0.25 * norm.pdf(at, 2.5) + 0.75 * norm.pdf(at))
    found = harmful_probability(at, values, null, torch.ones(len(null), dtype=torch.float64))
    assert np.abs(found.numpy() - true).max() < 0.08
    assert (found.diff() >= 0).all()


@pytest.mark.parametrize("bound", [0.05, 0.1, 0.3])
def test_the_share_of_false_causes_is_as_bounded(bound):
    shares, found = [], []
    for seed in range(10):
        values, harmful, null = _mixture(seed)
        rows = np.array([int(name) for name in _causes(values, null, bound).ids])
        shares.append((~harmful[rows]).mean())
        found.append(harmful[rows].sum() / harmful.sum())
    assert 0.4 * bound < np.mean(shares) < 1.2 * bound
    assert np.mean(found) > 0.5


def test_nothing_harmful_gives_no_causes():
    counts = []
    for seed in range(40):
        values, _, null = _mixture(seed, clean=600, harmful=0, known=300)
        counts.append(len(_causes(values, null)))
    assert counts.count(0) >= 38


def test_a_weight_of_two_counts_a_row_twice():
    values, _, null = _mixture(3, 60, 20, 40)
    weights = torch.ones(40, dtype=torch.float64)
    weights[:7] = 2
    twice = torch.cat([null, null[:7]])
    torch.testing.assert_close(
        harmful_probability(values, values, null, weights),
        harmful_probability(values, values, twice, torch.ones(47, dtype=torch.float64)),
        rtol=1e-10,
        atol=1e-12,
    )


def test_clean_rows_are_weighted_to_the_natural_mix():
    weights = natural_weights(9, 90, failure_share=0.2)
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[:9].sum() / weights.sum()).item() == pytest.approx(0.2)
    assert natural_weights(3, 0, failure_share=0.2).tolist() == [1, 1, 1]


def test_the_natural_share_is_that_of_all_test_rows_where_it_is_known():
    def rows(count):
        return Examples(np.arange(count).astype(str), torch.zeros(count, 1), torch.zeros(count, dtype=torch.long))

    assert QuerySide(rows(9), rows(1), rows(90), error_rate=0.2).failure_share == 0.2
    assert QuerySide(rows(9), rows(1), rows(90)).failure_share == 0.1


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


def test_the_planted_rows_are_likelier_harmful(task):
    scores = calibrated(EWCInfluence(), task)
    planted = task.fit.having(task.corrupted)
    assert scores.probability is not None
    assert scores.probability[planted].mean() > 2 * scores.probability[~planted].mean()


def test_scores_without_probabilities_have_no_share_of_false_causes(task):
    with pytest.raises(InputError, match="calibrated"):
        CausesRule(fdr=0.1).causes(Loss().scores(task), planted=0)


def test_too_few_failures_cannot_calibrate(task):
    few = replace(task, tests=replace(task.tests, query=task.tests.query[:3]))
    with pytest.raises(InputError, match="3 query failures are too few"):
        calibrated(Loss(), few)
