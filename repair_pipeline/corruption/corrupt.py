"""From a data set as found to the one a base model is trained on."""

import numpy as np
from torch import Tensor

from repair_pipeline.corruption.label_noise import LabelNoise
from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.types import CorruptedDataset, Dataset, Examples, TrainingRows


def corrupt(
    dataset: Dataset, noise: LabelNoise | None, validation_fraction: float, rng: np.random.Generator
) -> CorruptedDataset:
    """Split the training rows into fit and validation, and plant ``noise`` in both (nothing where it is None).

    Raises:
        InputError: the noise does not fit the data, or no row is left for validation.
    """
    clean = dataset.train.labels
    fit, validation = stratified_split(clean, validation_fraction, rng)
    if not len(validation):
        raise InputError(
            f"validation_fraction {validation_fraction:g} of {len(clean)} training rows leaves no validation row "
            "of any class: give more rows or a larger fraction"
        )
    given = clean if noise is None else noise.relabel(clean, fit, validation, rng)

    def rows(at: Tensor) -> TrainingRows:
        relabelled = Examples(dataset.train.ids, dataset.train.inputs, given)[at]
        return TrainingRows(relabelled, clean[at], corrupted=given[at] != clean[at])

    return CorruptedDataset(rows(fit), rows(validation), dataset.test, dataset.classes, dataset.mean)
