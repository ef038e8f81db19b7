"""What a review is expected to find: calibrated probabilities, corrected by what was reviewed."""

import numpy as np
import pytest
from scipy.special import expit, logit

from repair_pipeline.evaluation.outlook import NEXT, SPREAD, corrected, outlook


def rows(count, seed=0):
    return np.sort(np.random.default_rng(seed).uniform(0.02, 0.98, count))[::-1].copy()


def test_without_decisions_the_expected_number_is_the_sum_of_the_probabilities():
    probability = rows(80)
    now = outlook(probability, [], [], np.arange(80))
    assert now.expected == pytest.approx(probability[:NEXT].sum())
    assert now.expected_left == pytest.approx(probability.sum())
    assert (now.precision, now.reviewed, now.next_rows) == (None, 0, NEXT)


def test_decisions_as_the_probabilities_say_change_little():
    probability = rows(2000)
    wrong = np.random.default_rng(1).random(2000) < probability
    assert corrected(probability, probability, wrong) == pytest.approx(probability, abs=0.04)


@pytest.mark.parametrize("shift", [-3.0, -1.0, 0.5, 2.0])
def test_many_decisions_show_how_far_the_probabilities_are_off(shift):
    said = rows(20_000)
    true = expit(shift + logit(said))
    wrong = np.random.default_rng(2).random(len(said)) < true
    reviewed = np.arange(0, len(said), 2)
    assert corrected(said, said[reviewed], wrong[reviewed]) == pytest.approx(true, abs=0.02)


@pytest.mark.parametrize("wrong", [[True, False, True, False, False], [True] * 5, [False] * 5])
def test_the_correction_maximises_what_it_says(wrong):
    """An oracle: a fine grid over the shift."""
    of_reviewed, wrong, shift = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array(wrong), np.linspace(-8, 8, 16_001)
    probability = expit(shift[:, None] + logit(of_reviewed))
    fit = np.log(np.where(wrong, probability, 1 - probability)).sum(1) - (shift / SPREAD) ** 2 / 2
    expected = expit(shift[fit.argmax()] + logit(np.array([0.3, 0.95])))
    assert corrected(np.array([0.3, 0.95]), of_reviewed, wrong) == pytest.approx(expected, abs=1e-3)


def test_a_row_that_is_right_lowers_all_and_a_wrong_one_raises_all():
    probability = rows(50)
    lower, higher = (corrected(probability, np.array([0.6]), np.array([says])) for says in (False, True))
    assert (lower < probability).all()
    assert (higher > probability).all()


def test_the_order_of_the_decisions_does_not_matter():
    probability, order = rows(60), np.random.default_rng(3).permutation(30)
    wrong = np.random.default_rng(4).random(30) < 0.5
    one = corrected(probability, probability[:30], wrong)
    assert corrected(probability, probability[order], wrong[order]) == pytest.approx(one, abs=1e-6)


def test_right_rows_lower_and_wrong_rows_raise_what_is_expected():
    probability, left = rows(200), np.arange(20, 200)
    expected = [outlook(probability, range(20), [says] * 20, left).expected for says in (False, True)]
    assert expected[0] < outlook(probability, [], [], left).expected < expected[1]


def test_a_review_may_stop_where_ten_rows_are_read_to_find_one():
    probability = np.r_[np.full(50, 0.9), np.full(100, 0.05)]
    assert not outlook(probability, [], [], np.arange(150)).may_stop
    assert outlook(probability, [], [], np.arange(50, 150)).may_stop
    assert outlook(probability, range(50), [True] * 50, np.arange(0)).may_stop


def test_without_probabilities_the_latest_decisions_tell():
    wrong = [True] * 60 + [False] * 40 + [True] * 10
    now = outlook(None, range(110), wrong, np.arange(110, 310))
    assert now.expected == pytest.approx(NEXT * (10 + 1) / (50 + 2))
    assert (now.expected_left, now.precision) == (None, 70 / 110)
    assert outlook(None, [], [], np.arange(10)).expected is None
