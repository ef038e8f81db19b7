"""How the test set is split."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.partition import partition
from repair_pipeline_tests.problems import examples


class Reads(nn.Module):
    """Predicts the class that is written in the input."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x[:, 0].long(), 3).double() + self.nothing


def outcomes(right, wrong):
    """A test set of which ``wrong`` rows are failures."""
    labels = torch.arange(right + wrong) % 3
    predicted = torch.where(torch.arange(right + wrong) < right, labels, (labels + 1) % 3)
    shuffled = torch.randperm(right + wrong, generator=torch.Generator().manual_seed(0))
    return examples(predicted[shuffled, None].double(), labels[shuffled])


def split(right=60, wrong=40, query_fraction=1.0, seed=0):
    return partition(Reads(), outcomes(right, wrong), query_fraction, np.random.default_rng(seed))


counts = st.integers(0, 90), st.integers(6, 90)


@given(*counts, st.floats(0.01, 1), st.integers(0, 20))
def test_splits_are_disjoint_and_cover_the_test_set(right, wrong, query_fraction, seed):
    parts = split(right, wrong, query_fraction, seed).parts()
    ids = [example_id for part in parts.values() for example_id in part.ids]
    assert sorted(ids) == sorted(outcomes(right, wrong).ids)


@given(*counts, st.floats(0.01, 1))
def test_failures_and_correct_cases_are_where_they_belong(right, wrong, query_fraction):
    parts = split(right, wrong, query_fraction).parts()
    for name, part in parts.items():
        correct = part.inputs[:, 0].long() == part.labels
        assert correct.all() if name in ("guard", "remaining") else not correct.any()
    sizes = {name: len(part) for name, part in parts.items()}
    assert sizes["holdout"] == wrong // 2
    side = wrong - wrong // 2
    used = max(2, round(query_fraction * side))
    assert sizes["query"] + sizes["query_tuning"] == used
    assert sizes["query_tuning"] == max(1, round(0.1 * used))
    assert sizes["unused_query"] == side - used


@given(*counts, st.sets(st.integers(0, 2), min_size=1))
def test_failures_of_other_classes_are_set_aside(right, wrong, targets):
    test = outcomes(right, wrong)
    if int(sum((test.labels[failing(test)] == label).sum() for label in targets)) < 6:
        with pytest.raises(InputError, match="of the classes"):
            partition(Reads(), test, 1.0, np.random.default_rng(0), targets)
        return
    parts = partition(Reads(), test, 1.0, np.random.default_rng(0), targets)
    failures = torch.cat([parts.query.labels, parts.query_tuning.labels, parts.holdout.labels])
    assert set(failures.tolist()) <= targets
    assert not targets & set(parts.other_failures.labels.tolist())
    assert len(failures) + len(parts.other_failures) == wrong
    assert len(parts.guard) + len(parts.remaining) == right


def failing(test):
    """Which rows are failures."""
    return test.inputs[:, 0].long() != test.labels


@given(*counts)
def test_the_guard_is_half_of_the_correct_cases_of_every_class(right, wrong):
    parts = split(right, wrong)
    for label in range(3):
        guard, remaining = (int((part.labels == label).sum()) for part in (parts.guard, parts.remaining))
        assert guard == round((guard + remaining) / 2)


@given(st.floats(0.01, 1), st.integers(0, 20))
def test_query_fraction_moves_no_row_but_query_rows(query_fraction, seed):
    whole, part = split(seed=seed), split(seed=seed, query_fraction=query_fraction)
    for name in ("holdout", "remaining", "guard"):
        assert part.parts()[name].ids.tolist() == whole.parts()[name].ids.tolist()
    used = set(part.query.ids) | set(part.query_tuning.ids)
    assert used <= set(whole.query.ids) | set(whole.query_tuning.ids)


def test_the_seed_decides():
    one, two, other = (split(seed=seed) for seed in (0, 0, 1))
    assert one.holdout.ids.tolist() == two.holdout.ids.tolist()
    assert set(one.holdout.ids) != set(other.holdout.ids)
    assert set(one.remaining.ids) != set(other.remaining.ids)


def test_the_query_side_holds_neither_holdout_nor_remaining_rows():
    parts = split()
    side = parts.query_side
    readable = {example_id for part in (side.query, side.query_tuning, side.guard) for example_id in part.ids}
    assert not readable & {*parts.holdout.ids, *parts.remaining.ids, *parts.unused_query.ids}


@pytest.mark.parametrize("wrong", [0, 1, 5])
def test_too_few_failures_are_refused(wrong):
    with pytest.raises(InputError, match=f"the base model fails on {wrong} of {wrong + 30} test rows, 6 are needed"):
        split(right=30, wrong=wrong)
