"""Class-dependent label noise, planted in a data set."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.corruption.label_noise import LabelNoise
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset
from repair_pipeline_tests.problems import blobs

PAIRS = {1: {2: 1.0}, 2: {1: 1.0}}
SHARED = {0: {1: 0.25, 2: 0.75}, 3: {0: 0.5, 1: 0.3, 2: 0.2}}


def dataset(count=200, classes=4):
    return Dataset(blobs(count, seed=1, classes=classes), blobs(20, seed=2), tuple("0123"[:classes]), torch.zeros(4))


def planted(noise, seed=0, count=200, fraction=0.1):
    return corrupt(dataset(count), noise, fraction, np.random.default_rng(seed))


def everything(data):
    given = torch.cat([data.fit.examples.labels, data.validation.examples.labels])
    return given, torch.cat([data.fit.clean_labels, data.validation.clean_labels])


@given(st.floats(0, 1, exclude_max=True), st.integers(40, 200), st.integers(0, 50), st.sampled_from([PAIRS, SHARED]))
def test_round_of_rate_times_n_rows_of_every_named_class_are_planted(rate, count, seed, confusion):
    data = planted(LabelNoise(rate, confusion), seed, count)
    given, clean = everything(data)
    for part_given, part_clean in ((given, clean), (data.fit.examples.labels, data.fit.clean_labels)):
        for label in range(4):
            of_class = part_clean == label
            changed = int((part_given[of_class] != label).sum())
            assert changed == (round(rate * int(of_class.sum())) if label in confusion else 0)


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 50))
def test_the_planted_rows_of_a_class_are_shared_out_exactly(rate, seed):
    data = planted(LabelNoise(rate, SHARED), seed)
    for clean_label, shares in SHARED.items():
        given = data.fit.examples.labels[(data.fit.clean_labels == clean_label) & data.fit.corrupted]
        counts = [int((given == label).sum()) for label in shares]
        assert sum(counts) == len(given)
        # No running total of the shares is off by more than half a row.
        assert np.abs(np.cumsum(counts) - len(given) * np.cumsum(list(shares.values()))).max() <= 0.5 + 1e-9


def test_corrupted_is_where_the_label_changed():
    data = planted(LabelNoise(0.4, SHARED))
    for rows in (data.fit, data.validation):
        assert torch.equal(rows.corrupted, rows.examples.labels != rows.clean_labels)
        assert rows.corrupted.any()
        assert rows.corrupted_ids == set(rows.examples.ids[rows.corrupted.numpy()])


def test_ids_and_inputs_are_the_clean_rows():
    data, clean = planted(LabelNoise(0.4, PAIRS)), dataset().train
    for rows in (data.fit, data.validation):
        at = torch.from_numpy(np.searchsorted(clean.ids, rows.examples.ids))
        assert clean.ids[at.numpy()].tolist() == rows.examples.ids.tolist()
        assert torch.equal(clean.inputs[at], rows.examples.inputs)
        assert torch.equal(clean.labels[at], rows.clean_labels)
    assert set(data.fit.examples.ids) | set(data.validation.examples.ids) == set(clean.ids)
    assert len(data.fit.examples) + len(data.validation.examples) == len(clean)


def test_the_test_rows_and_the_clean_data_are_left_alone():
    clean = dataset()
    before = clean.train.labels.clone()
    data = corrupt(clean, LabelNoise(0.4, PAIRS), 0.1, np.random.default_rng(0))
    assert data.test is clean.test
    assert torch.equal(clean.train.labels, before)


def test_validation_is_a_tenth_and_as_noisy_as_the_rest():
    data = planted(LabelNoise(0.4, PAIRS))
    assert len(data.validation.examples) == 20
    for rows in (data.fit, data.validation):
        assert rows.corrupted[rows.clean_labels == 1].double().mean().item() == pytest.approx(0.4)


def test_no_noise_and_noise_at_rate_zero_plant_nothing():
    for noise in (None, LabelNoise(0.0, PAIRS)):
        given, clean = everything(planted(noise))
        assert torch.equal(given, clean)


def test_the_seed_decides_and_the_order_of_the_keys_does_not():
    backwards = {3: {2: 0.2, 1: 0.3, 0: 0.5}, 0: {2: 0.75, 1: 0.25}}
    one, two, other = (
        everything(planted(LabelNoise(0.4, confusion), seed))[0]
        for confusion, seed in ((SHARED, 0), (backwards, 0), (SHARED, 1))
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_matrix_is_what_is_planted():
    matrix = LabelNoise(0.4, SHARED).matrix(4)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix[3], [0.2, 0.12, 0.08, 0.6])
    given, clean = everything(planted(LabelNoise(0.4, SHARED), count=2000, fraction=0.2))
    counted = np.array([[int(((clean == i) & (given == j)).sum()) for j in range(4)] for i in range(4)]) / 500
    np.testing.assert_allclose(counted, matrix, atol=2 / 500)


@pytest.mark.parametrize("confusion", [{7: {1: 1.0}}, {1: {7: 1.0}}])
def test_a_class_that_the_labels_do_not_hold_is_refused(confusion):
    with pytest.raises(InputError, match="names class 7, but the training labels are 0 to 3"):
        planted(LabelNoise(0.3, confusion))


def test_no_validation_row_is_refused():
    with pytest.raises(InputError, match="validation"):
        planted(None, fraction=0.001)
