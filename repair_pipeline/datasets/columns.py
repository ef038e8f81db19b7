"""A table's columns as features and as metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repair_pipeline.datasets.table_files import index_columns
from repair_pipeline.errors import InputError


def usual_features(table: pa.Table, rest: Sequence[str], metadata: Sequence[str]) -> tuple[str, ...]:
    """All columns of numbers, or where there is none those of vectors; an index is no feature."""
    index = index_columns(table)
    free = [table.schema.field(name) for name in rest if name not in index and name not in metadata]
    numbers = tuple(field.name for field in free if is_number(field.type))
    return numbers or tuple(field.name for field in free if is_vector(field.type))


def is_number(kind: pa.DataType) -> bool:
    """Whether a value is an integer, a float or a decimal."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_vector(kind: pa.DataType) -> bool:
    """Whether a value is a list of numbers: an embedding."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_list(kind) for is_list in lists) and is_number(kind.value_type)


def vectors(table: pa.Table, features: Sequence[str], path: Path) -> np.ndarray:
    """The features of every row beside each other, a column's list of numbers as that many.

    Raises:
        InputError: a value is no number, or not finite; or a column's lists differ in length.
    """
    values = np.concatenate([_numbers(table[name], name, path) for name in features], axis=1)
    if len(bad := np.argwhere(~np.isfinite(values))):
        row, column = bad[0]
        widths = np.cumsum([_numbers(table[name][:1], name, path).shape[1] for name in features])
        name = features[int(np.searchsorted(widths, column, side="right"))]
        raise InputError(f"{path}: feature {name!r} of row {row} is {values[row, column]}: fill it in or drop the row")
    return values


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    """One column of features, as (rows, width)."""
    if not is_vector(column.type):
        try:
            return column.cast(pa.float64()).to_numpy()[:, None]
        except pa.ArrowException as error:
            why = " ".join(str(error).split())
            raise InputError(f"{path}: a feature is no number, {name!r} ({why}): leave it out") from error
    values = column.combine_chunks()
    values = values.storage if isinstance(values, pa.ExtensionArray) else values
    lengths = pc.list_value_length(values).fill_null(-1).to_numpy()
    width = int(lengths[0])
    if len(odd := np.flatnonzero(lengths != width)) or width < 1:
        row = int(odd[0]) if len(odd) else 0
        has = "null" if lengths[row] < 0 else f"{lengths[row]} numbers"
        raise InputError(f"{path}: the feature {name!r} has {width} numbers in row 0 and {has} in row {row}: mend it")
    return pc.list_flatten(values).cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, width)


def plain(table: pa.Table) -> pa.Table:
    """Columns of text, truth values and numbers; what is none of these as text. One that is empty keeps no kind."""
    for at, field in enumerate(table.schema):
        kind = pa.string()
        if pa.types.is_null(field.type):
            continue
        if pa.types.is_boolean(field.type):
            kind = pa.bool_()
        elif pa.types.is_integer(field.type):
            kind = pa.int64()
        elif pa.types.is_floating(field.type):
            kind = pa.float64()
        table = table.set_column(at, field.name, _as(table[field.name], kind))
    return table.replace_schema_metadata(None)


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column cast to a kind; what Arrow cannot write as text, and what is too large for its kind, as Python does."""
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.chunked_array([pa.array([None if value is None else str(value) for value in column.to_pylist()])])


def joined(train: pa.Table, test: pa.Table) -> pa.Table:
    """The metadata of training and test rows, one below the other: as text where a column differs in kind.

    A column that is empty on one side takes the other's kind; one that only one side has is null on the other.
    """
    for name in sorted(set(train.column_names) & set(test.column_names)):
        kinds = {table.schema.field(name).type for table in (train, test)} - {pa.null()}
        if len(kinds) > 1 and not all(map(is_number, kinds)):
            train, test = (
                table.set_column(table.column_names.index(name), name, _as(table[name], pa.string()))
                for table in (train, test)
            )
    table = pa.concat_tables([train, test], promote_options="permissive")
    for at, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(pa.string()))
    return table
