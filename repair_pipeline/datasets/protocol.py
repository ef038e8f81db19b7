"""What a data set that cases know by name is, and its entry in the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repair_pipeline.types import Dataset


@dataclass(frozen=True)
class KnownDataset:
    """An entry of the catalogue."""

    read: Callable[[int, np.random.Generator, Path], Dataset]
    """(train_size, rng, folder) → so many random training rows, and the test rows.

    ``rng`` is the case's, so that a seed decides which rows; ``folder`` is where data sets lie (``REPAIR_DATA_DIR``).
    Raises an ``InputError`` where they cannot be had, or are not as many.
    """
    line: str
    """What it is, in one line."""
    files: Callable[[Path], list[Path]] = lambda folder: []
    """The files below ``folder`` that it is read from: what they hold is part of what a result was made from."""
