"""From a loaded data set to the corrupted one that a base model is trained on."""

import numpy as np
import torch
from torch import Tensor

from repair_pipeline.corruption.imbalance import Imbalance
from repair_pipeline.corruption.planting import Corruption, Planted, stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.types import CorruptedDataset, Dataset, TrainingRows


def corrupt(
    dataset: Dataset, corruption: Corruption | Imbalance | None, validation_fraction: float, rng: np.random.Generator
) -> CorruptedDataset:
    """Split the training rows into fit and validation, and apply the corruption to both.

    Args:
        dataset: as loaded.
        corruption: None leaves the rows as they are.
        validation_fraction: the share of each class that becomes validation rows.
        rng: draws the split and the corrupted rows.

    Raises:
        InputError: the corruption does not fit the data, or no row is left for validation.
    """
    if isinstance(corruption, Imbalance):
        dataset, corruption = corruption.thin(dataset, rng), None
    clean = dataset.train.labels
    fit, validation = stratified_split(clean, validation_fraction, rng)
    if not len(validation):
        raise InputError(
            f"validation_fraction {validation_fraction:g} of {len(clean)} training rows gives no validation rows: "
            "give more rows or a larger fraction"
        )
    uncorrupted = Planted(dataset.train, torch.zeros(len(clean), dtype=torch.bool))
    planted = corruption.plant(dataset, fit, validation, rng) if corruption else uncorrupted

    def rows(at: Tensor) -> TrainingRows:
        return TrainingRows(planted.examples[at], clean[at], planted.corrupted[at])

    return CorruptedDataset(
        rows(fit),
        rows(validation),
        dataset.test,
        dataset.classes,
        dataset.mean,
        dataset.metadata,
        dataset.also_in_training,
        dataset.features,
    )
