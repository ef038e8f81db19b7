"""Handwritten digits bundled with scikit-learn: 1,797 real 8×8 images, no download."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from repair_pipeline.datasets.images import image_dataset
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset


def digits(train_size: int, rng: np.random.Generator, folder: Path | None = None) -> Dataset:
    """``train_size`` random training rows; all other rows are the test set.

    Args:
        train_size: number of training rows, 2 to 1,795.
        rng: draws the training rows.
        folder: not used, as the rows come with scikit-learn.

    Raises:
        InputError: ``train_size`` leaves fewer than two training or test rows.
    """
    bunch = load_digits()
    count = len(bunch.target)
    if not 2 <= train_size <= count - 2:
        raise InputError(f"dataset.train_size is {train_size}, but there are {count} digits: give 2 to {count - 2}")
    order = rng.permutation(count)
    return image_dataset(
        bunch.images[:, None], bunch.target, white=16.0, train=order[:train_size], test=order[train_size:]
    )
