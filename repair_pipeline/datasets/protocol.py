"""The catalogue entry of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repair_pipeline.types import Dataset


@dataclass(frozen=True)
class KnownDataset:
    """A data set that a case refers to by name."""

    read: Callable[[int, np.random.Generator, Path], Dataset]
    """(train_size, rng, folder) → ``train_size`` random training rows, and the test rows.

    ``rng`` is seeded by the case; ``folder`` holds the data sets (``REPAIR_DATA_DIR``). Raises an ``InputError`` if the
    data are not available or have too few rows.
    """
    line: str
    """One-line description."""
    files: Callable[[Path], list[Path]] = lambda folder: []
    """The files in ``folder`` that it is read from; their content is part of the identity of every result."""
