"""From raw images in memory to a Dataset."""

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
    """Images scaled to [0, 1], less the training rows' mean per channel (App. C).

    Args:
        images: (n, channels, height, width), black 0, white ``white``.
        labels: (n,) class numbers from 0.
        train: positions of the training rows.
        test: positions of the test rows.
        classes: their names; None: their numbers.

    Raises:
        InputError: the training rows hold a single class.
    """
    present = np.unique(labels[train])
    if len(present) < 2:
        raise InputError(
            f"the {len(train)} training rows hold one class only ({present[0]}): "
            "nothing can be confused; give a training set with two classes or more"
        )
    ids = content_ids(images)
    inputs = torch.from_numpy(images.astype(np.float32) / np.float32(white))
    mean = inputs[torch.from_numpy(train)].double().mean(dim=(0, 2, 3)).float()
    everything = Examples(ids, inputs - mean[:, None, None], torch.from_numpy(labels.astype(np.int64)))
    return Dataset(
        train=everything[torch.from_numpy(train)],
        test=everything[torch.from_numpy(test)],
        classes=classes or tuple(str(label) for label in range(int(labels.max()) + 1)),
        mean=mean,
    )
