"""A class too few examples of which are left (the abstract and Fig. 1; no experiment of the paper's)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset


@dataclass(frozen=True)
class Imbalance:
    """Leaves round(keep × n_class) rows of every class in ``classes``. Nothing is planted: no row is a wrong one."""

    keep: float
    classes: tuple[int, ...]

    def thin(self, data: Dataset, rng: np.random.Generator) -> Dataset:
        """``data`` with the rows that are left.

        Raises:
            InputError: a class has no row, or none would be left of it.
        """
        labels = data.train.labels
        kept = torch.ones(len(labels), dtype=torch.bool)
        for label in sorted(self.classes):
            rows = rng.permutation(torch.nonzero(labels == label).flatten().numpy())
            left = round(self.keep * len(rows))
            if left < 2:
                raise InputError(
                    f"corruption.keep {self.keep:g} leaves {left} of {len(rows)} rows of class {label}: "
                    "two are needed, one to train on and one to validate; keep more, or name another class"
                )
            kept[torch.from_numpy(rows[left:])] = False
        return replace(data, train=data.train[kept])
