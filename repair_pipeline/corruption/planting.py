"""Splitting training rows into fit and validation, and planting an exact number in each."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Rows = NDArray[np.int64]


def stratified_split(labels: Tensor, fraction: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A seeded, class-stratified split into (rest, part), ``part`` holding round(fraction × n_class) of each class.

    Returns:
        Two sorted position vectors that partition range(n).
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = rng.permutation(np.flatnonzero((labels == label).numpy()))
        chosen[torch.from_numpy(rows[: round(fraction * len(rows))])] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()


def planted_rows(fit: Rows, validation: Rows, rate: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Which rows of one class to corrupt: round(rate × n) of its fit rows, and round(rate × n) of all its rows.

    Both counts are exact, so validation is as noisy as the rest.

    Args:
        fit: positions of the class's fit rows; ``validation`` likewise.
    """
    in_fit = round(rate * len(fit))
    in_all = round(rate * (len(fit) + len(validation)))
    return rng.permutation(fit)[:in_fit], rng.permutation(validation)[: in_all - in_fit]
