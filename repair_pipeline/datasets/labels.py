"""Labels as they stand in a file, the names of their classes, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Int64
from torch import Tensor

from repair_pipeline.errors import InputError

_SHOWN = 20
"""How many classes or rows a message names."""


def class_name(value: object) -> str:
    """The name of a label's class: 1, 1.0 and a decimal 1.00 are one label, ``1``."""
    if isinstance(value, float | Decimal) and isfinite(value) and value == int(value):
        return str(int(value))
    return str(value)


def shown(names: Iterable[str], most: int = _SHOWN) -> str:
    """Names in a row; in quotes where one is empty or has a blank at an end, so that it can be seen."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if name and name == name.strip() else repr(name) for name in names[:most]) + rest


@dataclass(frozen=True, eq=False)
class Labels:
    """A column of labels: what each row's class is called, and how the file would write another class."""

    values: Sequence[Any]
    """As the file has them."""
    kind: pa.DataType
    places: tuple[str, ...] | None = None
    """Where the file itself names its classes (Hugging Face): an integer is a place among these."""

    @property
    def names(self) -> list[str | None]:
        """Each row's class by name; None for an integer that is no place among ``places``."""
        if not self._numbered:
            return [class_name(value) for value in self.values]
        return [self._numbered[value] if 0 <= value < len(self._numbered) else None for value in self.values]

    @property
    def sorted_names(self) -> tuple[str, ...]:
        """The classes that occur, in the order of their values."""
        return tuple(dict.fromkeys(map(class_name, sorted(set(self.values)))))

    @property
    def _numbered(self) -> tuple[str, ...]:
        """The classes that the column's integers are places among; none where values name their classes."""
        return self.places or () if pa.types.is_integer(self.kind) else ()

    def written(self, name: str) -> Any:
        """The value that stands for a class in this column, of the column's own kind.

        Raises:
            InputError: no row has the class, and the kind cannot write its name.
        """
        if name in self._numbered:
            return self._numbered.index(name)
        if name in (known := dict(zip(self.names, self.values, strict=True))):
            return known[name]
        try:
            if pa.types.is_string(self.kind) or pa.types.is_large_string(self.kind):
                return name
            return pa.array([name], pa.string()).cast(self.kind)[0].as_py()
        except pa.ArrowException as error:
            raise InputError(f"a column of {self.kind} cannot hold the class {name!r}: write it in by hand") from error

    def numbers(self, classes: tuple[str, ...], where: str) -> Int64[Tensor, " n"]:
        """Each row's place among ``classes``.

        Args:
            where: what the rows are, for the message.

        Raises:
            InputError: a row's label names no class.
        """
        at = {class_name(name): number for number, name in enumerate(classes)}
        at |= {name: number for number, name in enumerate(classes)}
        # A class may be declared as the value is written, 1.0, or as it is called, 1.
        numbers = [
            None if name is None else at.get(name, at.get(str(value)))
            for name, value in zip(self.names, self.values, strict=True)
        ]
        if None in numbers:
            row = numbers.index(None)
            value, same = self.values[row], sum(other == self.values[row] for other in self.values)
            rows = f"{same} rows have it" if same > 1 else "no other row has it"
            if self._numbered:
                raise InputError(f"{where} row {row} has the label {value}, which names no class ({rows}): drop them")
            raise InputError(
                f"{where} row {row} has the label {value!r}, the classes are {shown(classes)} ({rows}): "
                "mend the row, or give dataset.classes"
            )
        return torch.tensor(numbers)


def label_column(path: Path, table: pa.Table, column: str, places: tuple[str, ...] | None) -> Labels:
    """The labels of a table.

    Raises:
        InputError: a label is missing or no number, or the column's kind can hold no single label.
    """
    labels, kind = table[column], table.schema.field(column).type
    if pa.types.is_nested(kind):
        raise InputError(
            f"{path}: {column!r} holds {kind}, and multi-label data are not supported: give one label a row"
        )
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise InputError(f"{path}: {column!r} holds bytes: give labels as text or numbers")
    values = labels.to_pylist()
    _require_none(path, column, "null", [row for row, value in enumerate(values) if value is None])
    not_finite = [row for row, value in enumerate(values) if isinstance(value, float) and not isfinite(value)]
    _require_none(path, column, "NaN" if any(values[row] != values[row] for row in not_finite) else "inf", not_finite)
    return Labels(values, kind, places)


def _require_none(path: Path, column: str, what: str, rows: list[int]) -> None:
    if rows:
        counted = f"{len(rows)} rows" if len(rows) > 1 else "1 row"
        raise InputError(f"{path}: {column!r} is {what} in {counted} ({shown(map(str, rows), 5)}): mend or drop them")
