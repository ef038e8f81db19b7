"""Table columns as features and as metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from repair_pipeline.datasets.column_values import holds_bytes, values_of
from repair_pipeline.datasets.table_files import index_columns
from repair_pipeline.errors import InputError


def default_features(table: pa.Table, rest: Sequence[str], metadata: Sequence[str]) -> tuple[str, ...]:
    """The feature columns if none are given: all numeric columns, or if there are none, all columns of vectors.

    Args:
        table: the whole table; its index columns are never features.
        rest: the columns that are neither label, id nor image.
        metadata: the columns that were declared to be metadata.
    """
    index = index_columns(table)
    candidates = [table.schema.field(name) for name in rest if name not in index and name not in metadata]
    numbers = tuple(field.name for field in candidates if is_number(field.type))
    return numbers or tuple(field.name for field in candidates if is_vector(field.type))


def is_number(kind: pa.DataType) -> bool:
    """Whether a value is an integer, a float or a decimal."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_vector(kind: pa.DataType) -> bool:
    """Whether a value is a list of numbers: an embedding."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    lists = (
        *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
        *(pa.types.is_list_view, pa.types.is_large_list_view),
    )
    return any(is_list(kind) for is_list in lists) and is_number(kind.value_type)


def vectors(table: pa.Table, features: Sequence[str], path: Path) -> np.ndarray:
    """The feature matrix (rows, features) in float64; a column of vectors of length m gives m features.

    Args:
        table: holds the columns.
        features: names of the feature columns, in order.
        path: the table's file, for error messages.

    Raises:
        InputError: a value is not a number, or not finite as a float32, or the vectors of a column differ in length.
    """
    values = np.concatenate([_numbers(table[name], name, path) for name in features], axis=1)
    if len(bad := np.argwhere(~(np.abs(values) <= np.finfo(np.float32).max))):
        row, column = bad[0]
        widths = np.cumsum([_numbers(table[name][:1], name, path).shape[1] for name in features])
        name = features[int(np.searchsorted(widths, column, side="right"))]
        value, why = values[row, column], ""
        if np.isfinite(value):
            why = ", beyond what a float32 can hold"
        elif np.isnan(value) and table[name][int(row)].as_py() is None:
            value = "missing"
        raise InputError(f"{path}: feature {name!r} of row {row} is {value}{why}: fix or drop the row")
    return values


def _numbers(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    """One feature column as an array (rows, width)."""
    if not is_vector(column.type):
        try:
            return column.cast(pa.float64()).to_numpy()[:, None]
        except pa.ArrowException as error:
            why = " ".join(str(error).split())
            raise InputError(f"{path}: the feature {name!r} is not numeric ({why}): leave it out") from error
    values = column.combine_chunks()
    values = values.storage if isinstance(values, pa.ExtensionArray) else values
    lengths = pc.list_value_length(values).fill_null(-1).to_numpy()
    width = int(lengths[0])
    if width < 1:
        raise InputError(f"{path}: the feature {name!r} has {_counted(width)} in row 0: fix or drop the row")
    if len(different := np.flatnonzero(lengths != width)):
        row = int(different[0])
        actual = _counted(int(lengths[row]))
        raise InputError(
            f"{path}: the feature {name!r} has {_counted(width)} in row 0 and {actual} in row {row}: "
            "fix or drop the row"
        )
    return pc.list_flatten(values).cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, width)


def _counted(width: int) -> str:
    return f"{width} numbers" if width >= 0 else "null"


def plain(table: pa.Table, path: Path) -> pa.Table:
    """The table with bool, int64, float64 and text columns only; other types become text, all-null columns stay.

    Args:
        table: the columns.
        path: the table's file, for error messages.

    Raises:
        InputError: a value cannot be read.
    """
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
        table = table.set_column(at, field.name, _as(table, field.name, kind, path))
    return table.replace_schema_metadata(None)


def _as(table: pa.Table, name: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    """A column cast to ``kind``; where Arrow cannot cast, Python's text of each value."""
    try:
        if not holds_bytes(table.schema.field(name).type):  # bytes that happen to be UTF-8 would look like text
            return table[name].cast(kind)
    except pa.ArrowException:
        pass
    values = [None if value is None else str(value) for value in values_of(path, table, name)]
    return pa.chunked_array([pa.array(values, pa.string())])


def joined(train: pa.Table, test: pa.Table) -> pa.Table:
    """The metadata of the training rows, then of the test rows, plain both. Columns whose types conflict become text.

    An all-null column takes the other table's type; a column that one table lacks is null there.
    """
    for name in sorted(set(train.column_names) & set(test.column_names)):
        kinds = {table.schema.field(name).type for table in (train, test)} - {pa.null()}
        if len(kinds) > 1 and not all(map(is_number, kinds)):
            train, test = (
                table.set_column(table.column_names.index(name), name, table[name].cast(pa.string()))
                for table in (train, test)
            )
    table = pa.concat_tables([train, test], promote_options="permissive")
    for at, field in enumerate(table.schema):
        if pa.types.is_null(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(pa.string()))
    return table
