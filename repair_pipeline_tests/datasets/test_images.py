"""Images in memory."""

import numpy as np
import pytest
import torch

from repair_pipeline.datasets.images import image_dataset
from repair_pipeline.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 17, size=(10, 3, 4, 4))
TRAIN, TEST = np.array([7, 1, 3, 8, 0, 5]), np.array([2, 4, 6, 9])


def test_the_training_rows_mean_is_subtracted_per_channel():
    dataset = image_dataset(PIXELS, np.arange(10) % 3, white=16.0, train=TRAIN, test=TEST)
    mean = (PIXELS[TRAIN] / 16).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(dataset.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(dataset.train.inputs, PIXELS[TRAIN] / 16 - mean[:, None, None], atol=1e-6)
    np.testing.assert_allclose(dataset.test.inputs, PIXELS[TEST] / 16 - mean[:, None, None], atol=1e-6)
    assert dataset.train.inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-6


def test_labels_follow_their_rows():
    dataset = image_dataset(PIXELS, np.arange(10) % 3, white=16.0, train=TRAIN, test=TEST)
    assert dataset.train.labels.tolist() == (TRAIN % 3).tolist()
    assert dataset.test.labels.tolist() == (TEST % 3).tolist()
    assert dataset.classes == ("0", "1", "2")
    assert dataset.train.inputs.dtype == torch.float32


def test_one_class_of_training_rows_is_refused():
    labels = np.where(np.isin(np.arange(10), TRAIN), 4, 2)
    with pytest.raises(InputError, match=r"the 6 training rows have only one class \(4\)"):
        image_dataset(PIXELS, labels, white=16.0, train=TRAIN, test=TEST)
