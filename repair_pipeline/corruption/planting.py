"""Splitting training rows into fit and validation, and planting an exact number in each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.datasets.labels import strata
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Planted:
    """All training rows after a corruption, in their original order."""

    examples: Examples
    corrupted: Bool[Tensor, " n"]
    """Intervened upon, whether or not the label changed."""


@runtime_checkable
class Corruption(Protocol):
    """A way of planting causes of failure."""

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        """Corrupt an exact number of the fit rows, and the same share of the validation rows.

        Args:
            data: the clean data.
            fit: positions of the fit rows among the training rows.
            validation: positions of the validation rows.
            rng: draws the rows to corrupt.

        Raises:
            InputError: the corruption does not fit the data.
        """


def stratified_split(labels: Tensor, fraction: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A seeded, class-stratified split of n rows.

    Args:
        labels: (n,) class numbers, or numbers, whose quarters are the classes.
        fraction: the share of each class in the second part.
        rng: draws the rows of the second part.

    Returns:
        The sorted positions of the rest, and of the part with round(fraction × n_class) rows of each class.
    """
    chosen, classes = torch.zeros(len(labels), dtype=torch.bool), strata(labels)
    for label in classes.unique():
        rows = rng.permutation(np.flatnonzero((classes == label).numpy()))
        chosen[torch.from_numpy(rows[: round(fraction * len(rows))])] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()


def planted_counts(fit: int, validation: int, rate: float) -> tuple[int, int]:
    """How many rows to corrupt: round(rate × n) of the fit rows, and round(rate × n) of all rows.

    Both counts are exact, so validation is as noisy as fit.

    Args:
        fit: the number of fit rows.
        validation: the number of validation rows.
        rate: the share of rows to corrupt.

    Returns:
        The number among the fit rows, and among the validation rows.
    """
    in_fit = round(rate * fit)
    return in_fit, round(rate * (fit + validation)) - in_fit


def planted_rows(fit: Rows, validation: Rows, rate: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """The rows of one class to corrupt, as many as ``planted_counts`` says.

    Args:
        fit: positions of the class's fit rows.
        validation: positions of the class's validation rows.
        rate: the share of rows to corrupt.
        rng: draws the rows.

    Returns:
        Positions among the fit rows, and among the validation rows.
    """
    in_fit, in_validation = planted_counts(len(fit), len(validation), rate)
    return rng.permutation(fit)[:in_fit], rng.permutation(validation)[:in_validation]


def require_floats(key: str, inputs: Tensor) -> None:
    """Refuse inputs of integers, whose values a corruption would cut off.

    Args:
        key: the case key that names the corruption, for the error message.
        inputs: of the training rows.

    Raises:
        InputError: they are integers.
    """
    if not inputs.is_floating_point():
        raise InputError(f"{key} changes values, but the inputs are integers: return floats from dataset.transform")


def require_classes(key: str, classes: Iterable[int], labels: Tensor) -> None:
    """Refuse classes that no training row has.

    Args:
        key: the case key that names the classes, for the error message.
        classes: class numbers.
        labels: the training labels.

    Raises:
        InputError: a class has no training row.
    """
    if missing := set(classes) - set(labels.tolist()):
        raise InputError(
            f"{key} names class {min(missing)}, but the training labels are "
            f"{int(labels.min())} to {int(labels.max())}: name classes among these"
        )


def planted_by_class(
    labels: Tensor, classes: Iterable[int], rate: float, fit: Tensor, validation: Tensor, rng: np.random.Generator
) -> Iterator[tuple[int, Rows]]:
    """For each class, first the positions to corrupt in fit, then those in validation, as (class, positions).

    Classes are sorted, because cases that differ only in the order of their keys have the same id and result.
    """
    for label in sorted(classes):
        class_fit, class_validation = (part[labels[part] == label].numpy() for part in (fit, validation))
        for rows in planted_rows(class_fit, class_validation, rate, rng):
            yield label, rows
