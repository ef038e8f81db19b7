"""Conversion between label values in a file, class names and class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float64, Int64, Shaped
from torch import Tensor

from repair_pipeline.datasets.column_values import holds_bytes, values_of
from repair_pipeline.errors import InputError
from repair_pipeline.types import PADDING, LabelForm

_SHOWN = 20
"""Maximum number of classes or rows listed in a message."""
_LENGTH = 60
"""Maximum number of characters of a name in a message."""


def class_name(value: object) -> str:
    """The class name of a label value.

    1, 1.0 and a decimal 1.00 are the same class, ``1``; so is text that Unicode writes in two ways (é as one character
    or as two), which file systems and programs convert into each other.
    """
    if isinstance(value, float | Decimal) and isfinite(value) and value == int(value):
        return str(int(value))
    return normalize("NFC", str(value))


def shown(names: Iterable[str], most: int = _SHOWN) -> str:
    """The names for a message, comma-separated, at most ``most``; long ones are cut.

    Names that are empty, or have blanks at an end or characters that are not printed, are quoted.
    """
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    cut = [name if len(name) <= _LENGTH else f"{name[:_LENGTH]}…" for name in names[:most]]
    return (
        ", ".join(name if name and name == name.strip() and name.isprintable() else repr(name) for name in cut) + rest
    )


@dataclass(frozen=True, eq=False)
class Labels:
    """A label column: the class name of each row, and the column's value for a class."""

    values: Sequence[Any]
    """The values as in the file."""
    kind: pa.DataType
    places: tuple[str, ...] | None = None
    """Class names from the file's metadata (Hugging Face), which an integer label indexes."""

    @property
    def names(self) -> list[str | None]:
        """Each row's class name; None for an integer outside the range of ``places``."""
        if not self._numbered:
            return [class_name(value) for value in self.values]
        return [self._numbered[value] if 0 <= value < len(self._numbered) else None for value in self.values]

    @property
    def sorted_names(self) -> tuple[str, ...]:
        """The classes that occur, in the order of their values."""
        return tuple(dict.fromkeys(map(class_name, sorted(set(self.values)))))

    @property
    def _numbered(self) -> tuple[str, ...]:
        """The class names that the column's integers index; empty if the values are class names themselves."""
        return self.places or () if pa.types.is_integer(self.kind) else ()

    def written(self, name: str) -> Any:
        """The value of class ``name`` in this column, in the column's type.

        Raises:
            InputError: no row has the class, and the column's type cannot represent its name.
        """
        if name in self._numbered:
            return self._numbered.index(name)
        if name in (known := dict(zip(self.names, self.values, strict=True))):
            return known[name]
        try:
            if pa.types.is_string(self.kind) or pa.types.is_large_string(self.kind):
                return name
            if pa.types.is_time(self.kind):
                return time.fromisoformat(name)  # Arrow casts no text to times
            return pa.array([name], pa.string()).cast(self.kind)[0].as_py()
        except (pa.ArrowException, ValueError) as error:
            raise InputError(
                f"a column of type {self.kind} cannot hold the class {name!r}: edit the file by hand"
            ) from error

    def numbers(self, classes: tuple[str, ...], where: str) -> Int64[Tensor, " n"]:
        """Each row's class number: its index in ``classes``.

        Args:
            classes: class names, in the order of the model's outputs.
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: a row's label is not one of the classes.
        """
        number_of = {class_name(name): number for number, name in enumerate(classes)}
        number_of |= {name: number for number, name in enumerate(classes)}
        # A class may be declared as the value is written, 1.0, 01 or true, or by its name, 1 or True.
        numbers_of: dict[str, set[int]] = {}
        for name, number in number_of.items():
            for spelling in _spellings(name):
                numbers_of.setdefault(spelling, set()).add(number)
        number_of = {name: number for name, (number, *others) in numbers_of.items() if not others} | number_of
        numbers = [
            None if name is None else number_of.get(name, number_of.get(str(value)))
            for name, value in zip(self.names, self.values, strict=True)
        ]
        if None in numbers:
            row = numbers.index(None)
            value, count = self.values[row], sum(other == self.values[row] for other in self.values)
            rows = f"{count} rows have it" if count > 1 else "no other row has it"
            if self._numbered:
                raise InputError(
                    f"{where} row {row} has the label {value}, which is not a class number ({rows}): fix or drop them"
                )
            label = repr(value if len(str(value)) <= _LENGTH else f"{str(value)[:_LENGTH]}…")
            raise InputError(
                f"{where} row {row} has the label {label}, but the classes are {shown(classes)} ({rows}): "
                "fix the row, or set dataset.classes"
            )
        return torch.tensor(numbers)

    def floats(self, where: str) -> Float64[Tensor, " n"]:
        """The labels of a regression.

        Args:
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: they are no numbers.
        """
        numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        if self._numbered or not any(is_kind(self.kind) for is_kind in numeric):
            raise InputError(
                f"{where} rows have labels such as {shown(map(str, self.names[:1]))} of type {self.kind}, but the "
                "case's likelihood reads numbers: set dataset.label to a column of numbers, or leave likelihood out"
            )
        return torch.tensor([float(value) for value in self.values], dtype=torch.float64)

    def sets(self, classes: tuple[str, ...], where: str) -> Bool[Tensor, "n k"]:
        """Which classes are in each row's label.

        Args:
            classes: class names, in the order of the model's outputs.
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: a row has another class.
        """
        place = {name: at for at, name in enumerate(classes)}
        sets = torch.zeros(len(self.values), len(classes), dtype=torch.bool)
        for row, names in enumerate(map(members_of, self.values)):
            for name in names:
                if name not in place:
                    raise InputError(
                        f"{where} row {row} has the class {name!r}, but the classes are {shown(classes)}: fix the row, "
                        "or set dataset.classes"
                    )
                sets[row, place[name]] = True
        return sets


BETWEEN = "|"
"""Stands between the classes of a label that is a set, written as text."""


def members_of(value: Any) -> list[str]:
    """The class names in a label that is a set: a list, or text with ``|`` between them; empty text: none."""
    if isinstance(value, list):
        return [class_name(name) for name in value]
    text = class_name(value)
    return [name.strip() for name in text.split(BETWEEN)] if text.strip() else []


def texts(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> list[str]:
    """Labels as tables and patches have them: by the class's name, as a number, a set's names, or a text.

    Args:
        labels: class numbers, numbers, sets or tokens.
        classes: class names or tokens; empty for numbers.
    """
    if labels.dtype == torch.bool:
        rows = (zip(classes, row, strict=True) for row in labels.tolist())
        return [BETWEEN.join(name for name, there in row if there) for row in rows]
    if labels.dim() == 2:
        return [_text(row, classes) for row in labels.tolist()]
    if labels.is_floating_point():
        return [class_name(value) for value in labels.tolist()]
    return [classes[label] for label in labels.tolist()]


def _text(tokens: list[int], vocabulary: tuple[str, ...]) -> str:
    """Tokens as text; those without a name by their numbers."""
    if not vocabulary:
        return " ".join(str(token) for token in tokens if token != PADDING)
    return "".join(vocabulary[token] for token in tokens if 0 <= token < len(vocabulary)).strip()


def column_of(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> list[str] | list[float]:
    """Labels as predicates compare them: the names of classes, or numbers."""
    return texts(labels, classes) if classes or labels.dim() == 2 else labels.double().tolist()


def label_of(text: str, classes: tuple[str, ...]) -> int | float | None:
    """The label that ``texts`` writes so; None if there is none.

    Args:
        text: of one label.
        classes: class names; empty for numbers.
    """
    if classes:
        return classes.index(text) if text in classes else None
    try:
        return float(text) if isfinite(float(text)) else None
    except ValueError:
        return None


def strata(labels: Shaped[Tensor, "n *l"]) -> Int64[Tensor, " n"]:
    """The class of each row, by which splits are stratified; of numbers the quarter by size, from 0; or one for all."""
    if labels.dim() == 2:
        return torch.zeros(len(labels), dtype=torch.int64)
    if not labels.is_floating_point():
        return labels
    inner = np.quantile(labels.double().numpy(), [0.25, 0.5, 0.75])
    return torch.bucketize(labels.double(), torch.from_numpy(inner))


def members(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> dict[str, Bool[Tensor, " n"]]:
    """The rows of each class by its name; of numbers those of each quarter by size, named by its ends; texts: none."""
    if labels.dtype == torch.bool:
        return {name: labels[:, at] for at, name in enumerate(classes)}
    if labels.dim() == 2:
        return {}
    if not labels.is_floating_point():
        return {name: labels == label for label, name in enumerate(classes)}
    quarters = strata(labels)
    masks = [quarters == quarter for quarter in quarters.unique()]
    return {f"{labels[mask].min().item():g} to {labels[mask].max().item():g}": mask for mask in masks}


def _spellings(name: str) -> Iterable[str]:
    """How a program that reads a CSV file may write a class: ``True`` for true, ``1`` for 01."""
    if name.lower() in ("true", "false"):
        yield from (name.lower(), name.capitalize())
    if name.isascii() and name.isdigit():
        yield str(int(name))


def label_column(
    path: Path, table: pa.Table, column: str, places: tuple[str, ...] | None, form: LabelForm = LabelForm.CLASS
) -> Labels:
    """The labels of a table.

    Args:
        path: the table's file, for error messages.
        table: holds the column.
        column: the name of the label column.
        places: class names from the file's metadata, which integer labels index.
        form: what a label is.

    Raises:
        InputError: a label is missing, NaN or infinite, or the column's type is not one of single labels.
    """
    kind = table.schema.field(column).type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if pa.types.is_nested(kind) and not (lists and form is LabelForm.SET):
        raise InputError(
            f"{path}: {column!r} holds {kind}, but a label is a single value: give one label per row, or for lists of "
            "classes likelihood: multi_label"
        )
    if holds_bytes(kind):
        raise InputError(f"{path}: {column!r} holds bytes: give labels as text or numbers")
    values = values_of(path, table, column)
    if form is LabelForm.SET and not lists:  # a CSV file's empty field is the empty set
        values = ["" if value is None else value for value in values]
    _require_none(path, column, "null", [row for row, value in enumerate(values) if value is None])
    if form is not LabelForm.SET:
        _require_none(path, column, "empty", [row for row, value in enumerate(values) if value == ""])
    not_finite = [row for row, value in enumerate(values) if isinstance(value, float) and not isfinite(value)]
    _require_none(path, column, "NaN" if any(values[row] != values[row] for row in not_finite) else "inf", not_finite)
    return Labels(values, kind, places)


def _require_none(path: Path, column: str, what: str, rows: list[int]) -> None:
    if rows:
        count = f"{len(rows)} rows" if len(rows) > 1 else "1 row"
        raise InputError(f"{path}: {column!r} is {what} in {count} ({shown(map(str, rows), 5)}): fix or drop them")
