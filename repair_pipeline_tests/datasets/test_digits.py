"""The bundled digits."""

import numpy as np
import pytest

from repair_pipeline.datasets.digits import digits
from repair_pipeline.errors import InputError


def test_all_rows_are_either_trained_on_or_tested_on():
    dataset = digits(1000, np.random.default_rng(0))
    assert (len(dataset.train), len(dataset.test)) == (1000, 797)
    assert len(set(dataset.train.ids) | set(dataset.test.ids)) == 1797
    assert dataset.train.inputs.shape == (1000, 1, 8, 8)
    assert dataset.classes == tuple("0123456789")


def test_the_seed_decides_which_rows():
    one, two, other = (digits(100, np.random.default_rng(seed)).train.ids.tolist() for seed in (0, 0, 1))
    assert one == two
    assert set(one) != set(other)


def test_a_row_has_one_id_in_every_draw():
    one, other = (digits(900, np.random.default_rng(seed)) for seed in (0, 1))
    inputs = dict(zip(one.train.ids, (one.train.inputs + one.mean[:, None, None]).flatten(1).tolist(), strict=True))
    shared = [at for at, example_id in enumerate(other.train.ids) if example_id in inputs]
    assert len(shared) > 300
    for at in shared:
        given = (other.train.inputs[at] + other.mean[:, None, None]).flatten()
        np.testing.assert_allclose(given, inputs[other.train.ids[at]], atol=1e-6)


@pytest.mark.parametrize("size", [0, 1, 1796, 5000])
def test_a_size_that_leaves_a_side_empty_is_refused(size):
    with pytest.raises(InputError, match=f"dataset.train_size is {size}, but there are 1797 digits: give 2 to 1795"):
        digits(size, np.random.default_rng(0))
