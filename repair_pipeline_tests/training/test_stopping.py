"""Patience."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.training.stopping import Patience


def watch(scores, patience):
    watched = Patience(patience)
    return [(watched.improves(score), watched.spent) for score in scores]


def test_patience_is_spent_after_checks_in_a_row_without_a_better_score():
    assert [spent for _, spent in watch([1, 0, 2, 1, 2, 0], patience=3)] == [False, False, False, False, False, True]


@given(st.lists(st.integers(0, 5), min_size=1))
def test_a_score_improves_when_it_is_greater_than_all_before(scores):
    improved = [improves for improves, _ in watch(scores, patience=3)]
    assert improved == [score > max(scores[:at], default=-1) for at, score in enumerate(scores)]


@pytest.mark.parametrize("worst", [float("nan"), -float("inf")])
def test_no_number_is_no_improvement(worst):
    assert watch([worst, worst], patience=2) == [(False, False), (False, True)]
