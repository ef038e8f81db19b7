"""Class-dependent annotation noise (Sec. 4.1, Fig. 2a)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.corruption.planting import Planted, planted_by_class, require_classes
from repair_pipeline.types import Dataset

Confusion = Mapping[int, Mapping[int, float]]
"""For each noisy class, the distribution of its wrong labels over other classes; each row sums to 1."""


@dataclass(frozen=True)
class LabelNoise:
    """Relabels round(rate × n_class) rows of every class in ``confusion``."""

    rate: float
    confusion: Confusion

    def matrix(self, classes: int) -> NDArray[np.float64]:
        """p(given label | clean label), shape (classes, classes), rows summing to 1."""
        matrix = np.eye(classes)
        for clean, shares in self.confusion.items():
            matrix[clean, clean] -= self.rate
            for given, share in shares.items():
                matrix[clean, given] += self.rate * share
        return matrix

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        labels = data.train.labels
        require_classes("corruption.confusion", set(self.confusion).union(*self.confusion.values()), labels)
        given = labels.clone()
        for clean, rows in planted_by_class(labels, self.confusion, self.rate, fit, validation, rng):
            shares = dict(sorted(self.confusion[clean].items()))
            # Cumulative rounding, so that the counts add up to the planted rows of the class.
            ends = [round(len(rows) * total) for total in np.cumsum(list(shares.values()))]
            for target, part in zip(shares, np.split(rows, ends), strict=False):
                given[torch.from_numpy(part)] = target
        return Planted(replace(data.train, labels=given), corrupted=given != labels)
