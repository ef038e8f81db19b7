"""A ``Dataset`` from raw images in memory."""

import numpy as np
import torch
from numpy.typing import NDArray

from repair_pipeline.datasets.ids import content_ids
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples


def image_dataset(
    images: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    white: float,
    train: NDArray[np.integer],
    test: NDArray[np.integer],
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """Images scaled to [0, 1], minus the training rows' mean per channel (App. C).

    Args:
        images: (n, channels, height, width), black is 0.
        labels: (n,) class numbers from 0.
        white: the pixel value of white.
        train: positions of the training rows.
        test: positions of the test rows.
        classes: class names; None: the class numbers.

    Raises:
        InputError: all training rows have one class.
    """
    present = np.unique(labels[train])
    if len(present) < 2:
        raise InputError(
            f"the {len(train)} training rows have only one class ({present[0]}): "
            "give a training set with two or more classes"
        )
    ids = content_ids(images)
    inputs = torch.from_numpy(images.astype(np.float32) / np.float32(white))
    mean = inputs[torch.from_numpy(train)].double().mean(dim=(0, 2, 3)).float()
    examples = Examples(ids, inputs - mean[:, None, None], torch.from_numpy(labels.astype(np.int64)))
    return Dataset(
        train=examples[torch.from_numpy(train)],
        test=examples[torch.from_numpy(test)],
        classes=classes or tuple(str(label) for label in range(int(labels.max()) + 1)),
        mean=mean,
    )
