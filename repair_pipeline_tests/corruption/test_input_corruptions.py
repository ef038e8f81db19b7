"""Noise and poison in the inputs, and classes thinned."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.corruption.imbalance import Imbalance
from repair_pipeline.corruption.input_noise import InputNoise
from repair_pipeline.corruption.poison import Poison, fgsm
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset
from repair_pipeline_tests.problems import examples, seeded

MEAN = torch.tensor([0.2, 0.3])


def images(count=200, seed=0):
    """Two channels of 6×6 pixels in [0.05, 0.95], less their mean; four classes."""
    generator = torch.Generator().manual_seed(seed)
    pixels = 0.05 + 0.9 * torch.rand(count, 2, 6, 6, generator=generator, dtype=torch.float64)
    return examples(pixels - MEAN[:, None, None], torch.arange(count) % 4)


def dataset(count=200):
    return Dataset(images(count), images(20, seed=1), tuple("0123"), MEAN)


def corrupted(corruption, seed=0):
    return corrupt(dataset(), corruption, 0.1, np.random.default_rng(seed))


def pixels(rows):
    return rows.examples.inputs + MEAN[:, None, None]


def clean_pixels(rows):
    clean = dataset().train
    at = [clean.ids.tolist().index(example_id) for example_id in rows.examples.ids]
    return clean.inputs[at] + MEAN[:, None, None]


def victim():
    return seeded(nn.Sequential(nn.Flatten(), nn.Linear(72, 4))).eval()


def poison(epsilon=0.2, victims=2):
    seen = []

    def train(rows, validation, which):
        seen.append((set(rows.ids), set(validation.ids), which))
        return victim()

    return Poison(0.3, (1, 2), epsilon, victims, train), seen


SALT = InputNoise(0.3, (1, 2), "salt_and_pepper", 0.5)
GAUSSIAN = InputNoise(0.3, (1, 2), "gaussian", 0.4)


@pytest.mark.parametrize("corruption", [SALT, GAUSSIAN, poison()[0]], ids=["salt", "gaussian", "poison"])
class TestEvery:
    def test_an_exact_part_of_the_target_classes_and_no_other_row(self, corruption):
        data = corrupted(corruption)
        of_fit = [int(data.fit.corrupted[data.fit.clean_labels == label].sum()) for label in range(4)]
        of_validation = [int(data.validation.corrupted[data.validation.clean_labels == y].sum()) for y in range(4)]
        # Of 50 rows a class, 45 are fit: round(0.3 × 45) and what is missing to round(0.3 × 50).
        assert (of_fit, of_validation) == ([0, 14, 14, 0], [0, 1, 1, 0])

    def test_what_is_not_corrupted_is_bit_for_bit_as_it_was(self, corruption):
        for rows in (corrupted(corruption).fit, corrupted(corruption).validation):
            assert torch.equal(pixels(rows)[~rows.corrupted], clean_pixels(rows)[~rows.corrupted])
            assert torch.equal(rows.examples.labels[~rows.corrupted], rows.clean_labels[~rows.corrupted])
            changed = (pixels(rows) != clean_pixels(rows)).flatten(1).any(dim=1)
            assert torch.equal(changed, rows.corrupted)

    def test_pixels_stay_in_their_range(self, corruption):
        assert pixels(corrupted(corruption).fit).min() >= -1e-6
        assert pixels(corrupted(corruption).fit).max() <= 1 + 1e-6

    def test_the_clean_data_are_left_alone_and_the_seed_decides(self, corruption):
        clean = dataset()
        before = clean.train.inputs.clone()
        once, again, other = (corrupt(clean, corruption, 0.1, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert torch.equal(clean.train.inputs, before)
        assert torch.equal(once.fit.examples.inputs, again.fit.examples.inputs)
        assert once.fit.corrupted_ids != other.fit.corrupted_ids


def test_salt_and_pepper_is_half_and_half_and_takes_all_channels_of_a_pixel():
    rows = corrupted(SALT).fit
    noisy, clean = pixels(rows)[rows.corrupted], clean_pixels(rows)[rows.corrupted]
    changed = noisy != clean
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert changed.double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert noisy[changed].double().mean().item() == pytest.approx(0.5, abs=0.07)
    assert set(noisy[changed].round(decimals=6).tolist()) == {0.0, 1.0}


def test_gaussian_noise_has_the_deviation_asked_for():
    faint = InputNoise(0.3, (1, 2), "gaussian", 0.01)
    rows = corrupted(faint).fit
    moved = (pixels(rows) - clean_pixels(rows))[rows.corrupted]
    assert moved.std().item() == pytest.approx(0.01, rel=0.05)
    assert moved.mean().item() == pytest.approx(0, abs=0.001)


def test_input_noise_leaves_the_labels_right():
    rows = corrupted(GAUSSIAN).fit
    assert torch.equal(rows.examples.labels, rows.clean_labels)


def test_fgsm_moves_every_pixel_by_epsilon_up_the_loss():
    model, rows = victim(), images(8)
    moved, predicted = fgsm(model, rows, 0.01, MEAN, batch_size=3)
    weight = model[1].weight.detach()
    p = model(rows.inputs).softmax(dim=1).detach()
    slope = (p - nn.functional.one_hot(rows.labels, 4)) @ weight
    assert torch.allclose(moved.flatten(1), rows.inputs.flatten(1) + 0.01 * slope.sign(), atol=1e-7)
    assert torch.equal(predicted, model(moved).argmax(dim=1))


def test_poison_is_labelled_as_its_victim_predicts_fooled_or_not():
    rows = corrupted(poison()[0]).fit
    model = victim()
    assert torch.equal(rows.examples.labels[rows.corrupted], model(rows.examples.inputs[rows.corrupted]).argmax(dim=1))
    unmoved = corrupted(poison(epsilon=1e-9)[0]).fit
    right = model(unmoved.examples.inputs).argmax(dim=1) == unmoved.clean_labels
    assert (unmoved.corrupted & right).any()
    assert torch.equal(
        unmoved.examples.labels[unmoved.corrupted & right], unmoved.clean_labels[unmoved.corrupted & right]
    )


def test_victims_are_trained_on_the_clean_rows_and_validated_on_the_others():
    corruption, seen = poison(victims=3)
    data = corrupted(corruption)
    assert seen == [(set(data.fit.examples.ids), set(data.validation.examples.ids), which) for which in range(3)]


@given(st.floats(0.05, 0.95), st.integers(0, 20))
def test_imbalance_leaves_a_part_of_its_classes_and_plants_nothing(keep, seed):
    data = corrupted(Imbalance(keep, (1,)), seed)
    labels = torch.cat([data.fit.examples.labels, data.validation.examples.labels])
    assert labels.bincount().tolist() == [50, round(keep * 50), 50, 50]
    assert not data.fit.corrupted.any()
    assert set(data.fit.examples.ids) | set(data.validation.examples.ids) <= set(dataset().train.ids)


@pytest.mark.parametrize(
    "corruption", [InputNoise(0.3, (1, 9), "gaussian", 0.1), Imbalance(0.5, (9,)), Imbalance(0.01, (1,))]
)
def test_a_class_that_is_not_there_or_would_be_gone_is_named(corruption):
    with pytest.raises(InputError, match=r"class [19]"):
        corrupted(corruption)
