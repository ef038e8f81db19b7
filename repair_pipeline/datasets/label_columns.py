"""A column of labels: the values in a file as names and as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import time
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Bool, Float64, Int32, Int64, Shaped
from torch import Tensor

from repair_pipeline.datasets.column_values import holds_bytes, values_of
from repair_pipeline.datasets.labels import BETWEEN, IGNORED, LENGTH, class_name, number_in, shown
from repair_pipeline.errors import InputError
from repair_pipeline.types import PADDING, LabelForm


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
        """The value of class ``name`` in this column, in the column's type; of a list's classes, with blanks between.

        Raises:
            InputError: no row has the class, and the column's type cannot represent its name.
        """
        if holds_lists(self.kind):
            one = Labels((), self.kind.value_type, self.places)
            return [one.written(tag) for tag in name.split()]
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
            label = repr(value if len(str(value)) <= LENGTH else f"{str(value)[:LENGTH]}…")
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

    def parts(self, form: LabelForm) -> Iterator[list[str]]:
        """The class names in each row's label, which is a set of them or has one for each token.

        Args:
            form: decides what stands between those in a text: ``|`` or blanks. Empty text has none.
        """
        places = self.places or ()
        for value in self.values:
            if isinstance(value, list):
                numbered = (isinstance(each, int) and 0 <= each < len(places) for each in value)
                yield [places[each] if has else class_name(each) for each, has in zip(value, numbered, strict=True)]
            elif form is LabelForm.SET:
                text = class_name(value)
                yield [name.strip() for name in text.split(BETWEEN)] if text.strip() else []
            else:
                yield class_name(value).split()

    def sets(self, classes: tuple[str, ...], where: str) -> Bool[Tensor, "n k"]:
        """Which classes are in each row's label.

        Args:
            classes: class names, in the order of the model's outputs.
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: a row has another class.
        """
        sets = torch.zeros(len(self.values), len(classes), dtype=torch.bool)
        for row, label in enumerate(self._placed(LabelForm.SET, classes, where)):
            sets[row, label] = True
        return sets

    def tags(self, classes: tuple[str, ...], where: str) -> list[list[int]]:
        """The class number of each of a row's tokens, ``PADDING`` where the file says so.

        Args:
            classes: class names, in the order of the model's outputs.
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: a row has another class, or none at all; or a class's name has a blank.
        """
        if split := [name for name in classes if name.split() != [name]]:
            raise InputError(
                f"the class {split[0]!r} has a blank, which stands between the classes of a row's tokens: rename it"
            )
        tags = list(self._placed(LabelForm.TAGS, classes, where))
        if bare := [row for row, label in enumerate(tags) if set(label) <= {PADDING}]:
            raise InputError(f"{where} row {bare[0]} has no class for any of its tokens: give one, or drop the row")
        return tags

    def _placed(self, form: LabelForm, classes: tuple[str, ...], where: str) -> Iterator[list[int]]:
        place = {name: at for at, name in enumerate(classes)}
        if form is LabelForm.TAGS:
            place[IGNORED] = PADDING
        for row, names in enumerate(self.parts(form)):
            if unknown := [name for name in names if name not in place]:
                raise InputError(
                    f"{where} row {row} has the class {unknown[0]!r}, but the classes are {shown(classes)}: fix the "
                    "row, or set dataset.classes"
                )
            yield [place[name] for name in names]

    def class_names(self, form: LabelForm) -> tuple[str, ...]:
        """The classes: those of the file's metadata, or else those that occur, in order."""
        if self.places:
            return self.places
        if form is LabelForm.CLASS:
            return self.sorted_names
        occur = {name for names in self.parts(form) for name in names} - {IGNORED}
        return tuple(sorted(occur, key=lambda name: (number_in(name), name)))

    def tensor(self, form: LabelForm, classes: tuple[str, ...], where: str) -> Shaped[Tensor, "n *l"]:
        """The labels as a tensor.

        Args:
            form: what a label is, if no completion.
            classes: class names; empty for numbers.
            where: ``training`` or ``test``, for error messages.

        Raises:
            InputError: a label is none.
        """
        if form is LabelForm.SET:
            return self.sets(classes, where)
        if form is LabelForm.TAGS:
            return padded(self.tags(classes, where))
        return self.numbers(classes, where) if classes else self.floats(where)


def padded(tags: Sequence[Sequence[int]]) -> Int32[Tensor, "n t"]:
    """The class numbers of each row's tokens, with ``PADDING`` behind them up to the longest row."""
    labels = torch.full((len(tags), max(map(len, tags))), PADDING, dtype=torch.int32)
    for row, numbers in enumerate(tags):
        labels[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int32)
    return labels


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
    lists = holds_lists(kind)
    if pa.types.is_nested(kind) and not (lists and form in (LabelForm.SET, LabelForm.TAGS)):
        raise InputError(
            f"{path}: {column!r} holds {kind}, but a label is a single value: give one label per row, or for lists of "
            "classes likelihood: multi_label, or token_classification if each token has one"
        )
    if holds_bytes(kind):
        raise InputError(f"{path}: {column!r} holds bytes: give labels as text or numbers")
    values = values_of(path, table, column)
    if form is LabelForm.SET and not lists:  # a CSV file's empty field is the empty set
        values = ["" if value is None else value for value in values]
    missing = [row for row, value in enumerate(values) if value is None or (lists and None in value)]
    _require_none(path, column, "null", missing)
    if form is not LabelForm.SET:
        _require_none(path, column, "empty", [row for row, value in enumerate(values) if value == ""])
    not_finite = [row for row, value in enumerate(values) if isinstance(value, float) and not isfinite(value)]
    _require_none(path, column, "NaN" if any(values[row] != values[row] for row in not_finite) else "inf", not_finite)
    return Labels(values, kind, places)


def labels_in(table: pa.Table, column: str, places: tuple[str, ...] | None = None) -> Labels:
    """The labels in a column of a table, as they are.

    Args:
        table: the result of ``read_table``.
        column: the column's name.
        places: class names that integer labels index.
    """
    return Labels(table[column].to_pylist(), table.schema.field(column).type, places)


def holds_lists(kind: pa.DataType) -> bool:
    """Whether a value is a list."""
    return any(is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _require_none(path: Path, column: str, what: str, rows: list[int]) -> None:
    if rows:
        count = f"{len(rows)} rows" if len(rows) > 1 else "1 row"
        raise InputError(f"{path}: {column!r} is {what} in {count} ({shown(map(str, rows), 5)}): fix or drop them")
