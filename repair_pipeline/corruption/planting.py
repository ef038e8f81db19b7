"""Splitting training rows into fit and validation, and planting an exact number in each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Planted:
    """All training rows after a corruption, in their order."""

    examples: Examples
    corrupted: Bool[Tensor, " n"]
    """Intervened upon, whether or not the label changed."""


@runtime_checkable
class Corruption(Protocol):
    """A planted cause of failure."""

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        """Corrupt an exact number of the rows at ``fit``, and as large a part of those at ``validation``.

        Raises:
            InputError: it does not fit the data.
        """


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


def require_classes(key: str, classes: Iterable[int], labels: Tensor) -> None:
    """Refuse classes that no training row has.

    Raises:
        InputError: names the first of them, and the key of the case that asks for it.
    """
    if missing := set(classes) - set(labels.tolist()):
        raise InputError(
            f"{key} names class {min(missing)}, the training labels are "
            f"{int(labels.min())} to {int(labels.max())}: name classes among these"
        )


def planted_by_class(
    labels: Tensor, classes: Iterable[int], rate: float, fit: Tensor, validation: Tensor, rng: np.random.Generator
) -> Iterator[tuple[int, Rows]]:
    """For each class in turn, the rows of it to corrupt in fit, then those in validation.

    The classes come in their own order: cases that differ in the order of their keys alone have one id, so one outcome.
    """
    for label in sorted(classes):
        of_class = [part[labels[part] == label].numpy() for part in (fit, validation)]
        for rows in planted_rows(of_class[0], of_class[1], rate, rng):
            yield label, rows
