"""P(harmful) from the scores of clean rows, and causes by it: by their expected share of false ones, or one by one."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from repair_pipeline.errors import InputError
from repair_pipeline.problem.calibration import harmful_probability, natural_weights, within_false_share
from repair_pipeline.problem.causes import CausesRule
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


def test_the_rows_within_a_false_share_are_as_many_as_a_count_one_by_one_finds():
    draw = np.random.default_rng(5)
    for bound in (0.05, 0.1, 0.4):
        probability, order = torch.tensor(draw.beta(2, 1, size=30)), draw.permutation(30)
        due = 0
        for count in range(1, 31):
            if sum(1 - float(probability[row]) for row in order[:count]) / count <= bound:
                due = count
        assert within_false_share(probability, order, bound) == due


def _scores(probability):
    values = torch.arange(len(probability), 0, -1, dtype=torch.float64)
    return InfluenceScores(np.array([f"r{row}" for row in range(len(probability))]), values, probability=probability)


def test_harmful_rows_are_those_of_at_least_the_probability_most_harmful_first():
    scores = _scores(torch.tensor([0.9, 0.5, 0.1, 0.1, 0.05, 0.0], dtype=torch.float64))
    assert CausesRule(harmful=0.1).causes(scores, planted=0).ids == ("r0", "r1", "r2", "r3")
    assert CausesRule(harmful=0.5).causes(scores, planted=0).ids == ("r0", "r1")
    assert CausesRule(harmful=0.95).causes(scores, planted=0).ids == ()


def test_harmful_takes_at_least_what_a_share_of_false_causes_of_as_much_takes():
    values, _, null = _mixture(1)
    probability = harmful_probability(values, values, null, torch.ones(len(null), dtype=torch.float64))
    scores = InfluenceScores(np.arange(len(values)).astype(str), values, probability=probability)
    by_share, one_by_one = (CausesRule(**rule).causes(scores, planted=0) for rule in ({"fdr": 0.1}, {"harmful": 0.1}))
    assert by_share.as_set < one_by_one.as_set


@pytest.mark.parametrize("rule", [{"fdr": 0.1}, {"harmful": 0.1}])
def test_scores_without_probabilities_are_refused(rule):
    scores = InfluenceScores(np.array(["a", "b"]), torch.ones(2, dtype=torch.float64))
    assert CausesRule(**rule).calibrates
    assert not CausesRule(**rule).can_count(scores)
    with pytest.raises(InputError, match=r"need calibrated scores: set causes\.top instead"):
        CausesRule(**rule).causes(scores, planted=0)


@pytest.mark.parametrize("rule", [{}, {"fdr": 0.1, "harmful": 0.1}, {"harmful": 0}, {"harmful": 1}])
def test_a_rule_has_just_one_field_and_a_probability_between_0_and_1(rule):
    with pytest.raises(ValueError, match=r"exactly one of|greater than 0|less than 1"):
        CausesRule(**rule)
