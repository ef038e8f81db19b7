"""How the test set is split."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.partition import partition
from repair_pipeline_tests.problems import examples


def predicted(test):
    """The predictions of a model that reads the class off the input."""
    return test.inputs[:, 0].long()


def outcomes(right, wrong):
    """A test set of which ``wrong`` rows are failures."""
    labels = torch.arange(right + wrong) % 3
    predicted = torch.where(torch.arange(right + wrong) < right, labels, (labels + 1) % 3)
    shuffled = torch.randperm(right + wrong, generator=torch.Generator().manual_seed(0))
    return examples(predicted[shuffled, None].double(), labels[shuffled])


def split(right=60, wrong=40, query_fraction=1.0, seed=0):
    test = outcomes(right, wrong)
    return partition(predicted(test) == test.labels, test, query_fraction, np.random.default_rng(seed))["all"]


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
    groups = {"all": torch.isin(test.labels, torch.tensor(sorted(targets)))}
    if int(sum((test.labels[failing(test)] == label).sum() for label in targets)) < 6:
        with pytest.raises(InputError, match="among the rows that the case is about"):
            partition(predicted(test) == test.labels, test, 1.0, np.random.default_rng(0), groups)
        return
    parts = partition(predicted(test) == test.labels, test, 1.0, np.random.default_rng(0), groups)["all"]
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
    with pytest.raises(
        InputError,
        match=f"the base model fails on {wrong} of {wrong + 30} test rows that it was not trained on, but 6 are needed",
    ):
        split(right=30, wrong=wrong)


def in_groups(overlap):
    """A test set whose failures are of two groups, the rows of class 0 and, with some of these, those of class 1."""
    test = outcomes(60, 60)
    groups = {"zero": test.labels == 0, "one": (test.labels == 1) | (overlap & (test.labels == 0))}
    return partition(predicted(test) == test.labels, test, 1.0, np.random.default_rng(0), groups)


@pytest.mark.parametrize("overlap", [False, True])
def test_each_group_has_its_failures_and_all_share_the_healthy_rows(overlap):
    parts = in_groups(overlap)
    for name, of_group in parts.items():
        own = torch.cat([of_group.query.labels, of_group.query_tuning.labels, of_group.holdout.labels])
        assert set(own.tolist()) == {0 if name == "zero" else 1}
        assert len(own) + len(of_group.other_failures) == 60
        assert len(of_group.holdout) == len(own) // 2
    assert parts["zero"].guard.ids.tolist() == parts["one"].guard.ids.tolist()
    assert parts["zero"].remaining.ids.tolist() == parts["one"].remaining.ids.tolist()


def test_a_group_with_too_few_failures_is_named():
    test = outcomes(60, 60)
    groups = {"zero": test.labels == 0, "few": torch.arange(120) < 3}
    with pytest.raises(InputError, match="in the group 'few'"):
        partition(predicted(test) == test.labels, test, 1.0, np.random.default_rng(0), groups)


@given(st.integers(1, 100), st.integers(0, 5))
def test_rows_that_were_trained_on_are_in_neither_holdout_nor_remaining(count, seed):
    test = outcomes(60, 60)
    known = frozenset(np.random.default_rng(seed).permutation(test.ids)[:count].tolist())
    parts = partition(predicted(test) == test.labels, test, 1.0, np.random.default_rng(0), None, known)["all"]
    assert not known & {*parts.holdout.ids.tolist(), *parts.remaining.ids.tolist()}
    ids = [example_id for part in parts.parts().values() for example_id in part.ids]
    assert sorted(ids) == sorted(test.ids)
