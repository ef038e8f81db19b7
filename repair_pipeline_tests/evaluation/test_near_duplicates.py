"""Near duplicates of training rows in the test set."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from repair_pipeline.evaluation.near_duplicates import NEIGHBOURS, closer_than_chance, near_duplicates
from repair_pipeline.types import Examples

FLIGHT = 6
"""Test rows that repeat a training row in the tests below."""


def rows(inputs, name):
    ids = np.array([f"{name}-{at}" for at in range(len(inputs))], dtype=np.str_)
    return Examples(ids, torch.as_tensor(inputs), torch.zeros(len(inputs), dtype=torch.int64))


def tables(seed, shape=(400, 10)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=(200, *shape[1:])), rng


def photographs(seed, side=16):
    """Smooth random images: neighbouring pixels agree, as in photographs."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(500, 1, side, side))
    images = gaussian_filter(noise, sigma=(0, 0, 1.5, 1.5))
    return images[:300], images[300:], rng


def found(train, test):
    return {(each.test_id, each.train_id) for each in near_duplicates(rows(train, "train"), rows(test, "test"))}


PLANTED = {(f"test-{at}", f"train-{10 + at}") for at in range(FLIGHT)}


@pytest.mark.parametrize("make", [tables, photographs])
@pytest.mark.parametrize("seed", range(4))
def test_none_is_found_among_independent_rows(make, seed):
    train, test, _ = make(seed)
    assert found(train, test) == set()


@pytest.mark.parametrize("columns", [2, 40])
def test_nor_in_few_dimensions_or_in_many(columns):
    train, test, _ = tables(0, (400, columns))
    assert found(train, test) == set()


def test_nor_among_rows_of_few_values_which_agree_by_chance():
    rng = np.random.default_rng(0)
    coins = rng.integers(0, 2, size=(600, 12)).astype(float)
    measured = np.concatenate([coins, rng.normal(size=(600, 1))], axis=1)
    assert found(measured[:400], measured[400:]) == set()


def test_rows_that_repeat_a_training_row_but_for_noise_are_found_with_that_row():
    train, test, rng = tables(0)
    test[:FLIGHT] = train[10 : 10 + FLIGHT] + 0.02 * rng.normal(size=(FLIGHT, 10))
    assert found(train, test) == PLANTED


def test_rounding_hides_no_copy():
    train, test, _ = tables(1)
    test[:FLIGHT] = train[10 : 10 + FLIGHT].round(1)
    assert found(train, test) == PLANTED


def test_copies_have_the_closeness_0():
    train, test, _ = tables(2)
    test[:FLIGHT] = train[10 : 10 + FLIGHT]
    assert {each.closeness for each in near_duplicates(rows(train, "train"), rows(test, "test"))} == {0.0}


@pytest.mark.parametrize(
    "change",
    [
        lambda image, rng: image * 0.7 + 0.2,
        lambda image, rng: np.roll(image, 1, axis=-1),
        lambda image, rng: np.roll(image, (-1, 1), axis=(-2, -1)),
        lambda image, rng: image + 0.05 * image.std() * rng.normal(size=image.shape),
    ],
    ids=["brightness and contrast", "shifted", "shifted across", "noise"],
)
def test_changed_images_are_found(change):
    train, test, rng = photographs(0)
    test[:FLIGHT] = change(train[10 : 10 + FLIGHT], rng)
    assert found(train, test) == PLANTED


def test_large_and_coloured_images_are_compared_too():
    train, test, _ = photographs(0, side=80)
    colours = np.array([0.5, 1.0, 0.8])[:, None, None]
    train, test = train * colours, test * colours
    test[:FLIGHT] = np.roll(train[10 : 10 + FLIGHT], 1, axis=-1)
    assert found(train, test) == PLANTED


@pytest.mark.parametrize("make", [tables, photographs])
def test_the_order_of_the_rows_does_not_count(make):
    train, test, rng = make(3)
    test[:FLIGHT] = train[10 : 10 + FLIGHT] + 0.02 * train.std() * rng.normal(size=train[:FLIGHT].shape)
    first, second = rows(train, "train"), rows(test, "test")
    backwards = near_duplicates(first[torch.arange(len(train)).flip(0)], second[torch.arange(len(test)).flip(0)])
    assert {(each.test_id, each.train_id) for each in backwards} == PLANTED == found(train, test)


def test_units_of_measurement_do_not_count():
    train, test, rng = tables(0)
    test[:FLIGHT] = train[10 : 10 + FLIGHT] + 0.02 * rng.normal(size=(FLIGHT, 10))
    units = 10.0 ** np.arange(-4, 6)
    assert found(train * units, test * units) == PLANTED


def test_wide_rows_are_searched_by_projections():
    train, test, rng = tables(0, (100, 1000))
    test[:FLIGHT] = train[10 : 10 + FLIGHT] + 0.05 * rng.normal(size=(FLIGHT, 1000))
    assert found(train, test) == PLANTED


def test_too_few_training_rows_to_compare_with_give_nothing():
    train, test, _ = tables(0)
    assert near_duplicates(rows(train[:3], "train"), rows(train[:3], "test")) == []
    assert near_duplicates(rows(train, "train"), rows(test[:0], "test")) == []


@pytest.mark.parametrize("dimension", [1, 3, 12])
def test_the_probability_is_that_of_the_nearest_of_rows_spread_evenly_over_a_ball(dimension):
    rng = np.random.default_rng(0)
    distances = np.sort(rng.uniform(size=(20_000, NEIGHBOURS)) ** (1 / dimension), axis=1)
    closeness, chance = closer_than_chance(distances)
    np.testing.assert_allclose(closeness, distances[:, 0] / distances[:, -1])
    for share in (0.001, 0.01, 0.1, 0.5):
        assert (chance <= share).mean() == pytest.approx(share, rel=0.35)  # a region's own dimension is estimated


def test_a_row_whose_neighbours_all_equal_it_is_not_called_near_by_more_than_chance():
    distances = np.sort(np.random.default_rng(0).uniform(size=(50, NEIGHBOURS)), axis=1)
    distances[0] = 0
    closeness, chance = closer_than_chance(distances)
    assert (closeness[0], chance[0]) == (1, 1)
