"""Splitting and planting: exact numbers, whatever the sizes and rates."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.corruption.planting import planted_rows, stratified_split

sizes = st.integers(0, 60)
seeds = st.integers(0, 99)


@given(st.lists(st.integers(0, 3), max_size=80), st.floats(0, 1), seeds)
def test_a_stratified_split_is_exact_in_every_class_and_covers_all(labels, fraction, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    rest, part = stratified_split(labels, fraction, np.random.default_rng(seed))
    assert sorted([*rest.tolist(), *part.tolist()]) == list(range(len(labels)))
    for label in set(labels.tolist()):
        assert int((labels[part] == label).sum()) == round(fraction * int((labels == label).sum()))


@given(sizes, sizes, st.floats(0, 1, exclude_max=True), seeds)
def test_planting_is_exact_in_fit_and_in_all_rows(fit_size, validation_size, rate, seed):
    fit = np.arange(fit_size)
    validation = np.arange(fit_size, fit_size + validation_size)
    in_fit, in_validation = planted_rows(fit, validation, rate, np.random.default_rng(seed))
    assert len(in_fit) == round(rate * fit_size)
    assert len(in_fit) + len(in_validation) == round(rate * (fit_size + validation_size))
    assert len(set(in_fit)) == len(in_fit)
    assert set(in_fit) <= set(fit)
    assert set(in_validation) <= set(validation)


def test_the_seed_decides_which_rows():
    labels = torch.arange(40) % 2
    one, two, other = (stratified_split(labels, 0.5, np.random.default_rng(seed))[1].tolist() for seed in (0, 0, 1))
    assert one == two
    assert one != other
