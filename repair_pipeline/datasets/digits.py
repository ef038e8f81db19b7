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
        folder: not looked into, as the rows come with scikit-learn.

    Raises:
        InputError: fewer than two rows would be left on either side.
    """
    bunch = load_digits()
    count = len(bunch.target)
    if not 2 <= train_size <= count - 2:
        raise InputError(f"dataset.train_size is {train_size}, the digits have {count} rows: give 2 to {count - 2}")
    order = rng.permutation(count)
    return image_dataset(
        bunch.images[:, None], bunch.target, white=16.0, train=order[:train_size], test=order[train_size:]
    )
