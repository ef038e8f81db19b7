"""Class imbalance (mentioned in the abstract and Fig. 1; the paper has no experiment on it)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset


@dataclass(frozen=True)
class Imbalance:
    """Keeps round(keep × n_class) rows of every class in ``classes``. No row counts as corrupted."""

    keep: float
    classes: tuple[int, ...]

    def thin(self, data: Dataset, rng: np.random.Generator) -> Dataset:
        """``data`` with only the kept training rows.

        Raises:
            InputError: fewer than two rows of a class would be left.
        """
        labels = data.train.labels
        kept = torch.ones(len(labels), dtype=torch.bool)
        for label in sorted(self.classes):
            rows = rng.permutation(torch.nonzero(labels == label).flatten().numpy())
            left = round(self.keep * len(rows))
            if left < 2:
                raise InputError(
                    f"corruption.keep {self.keep:g} leaves {left} of {len(rows)} rows of class {label}: "
                    "at least two are needed, one for training and one for validation; keep more, or name another class"
                )
            kept[torch.from_numpy(rows[left:])] = False
        return replace(data, train=data.train[kept])
