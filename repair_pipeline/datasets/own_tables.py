"""The rows of a Parquet or CSV file, and of a folder of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from repair_pipeline.errors import InputError

TAKEN = (
    "case_id",
    "example_id",
    "split",
    "label",
    "clean_label",
    "corrupted",
    "label_changed",
    "failure_group",
    "predicted",
)
"""Columns of the view ``examples`` and of predicates, which no metadata can be called."""
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw inputs with what is said of them, in the file's order."""

    inputs: Sequence[Any] | np.ndarray
    """Encoded images, PIL images, or float64 vectors of features."""
    labels: Sequence[Any]
    metadata: pa.Table
    features: tuple[str, ...]
    """Their names; none for images."""
    classes: tuple[str, ...] | None
    """Named by the file itself."""
    names: Sequence[Any] = ()
    """The values of the id column."""


@runtime_checkable
class Columns(Protocol):
    """Which columns are what."""

    @property
    def label(self) -> str: ...
    @property
    def image(self) -> str | None: ...
    @property
    def features(self) -> tuple[str, ...] | None: ...
    @property
    def id(self) -> str | None: ...
    @property
    def metadata(self) -> tuple[str, ...] | None: ...


def parquet_files(path: Path) -> list[Path]:
    """The file, or the files of the folder in their order."""
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


class _Images(Sequence[bytes | None]):
    """A column of encoded images, None where one is missing, read forwards in pieces: an earlier row starts again."""

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._files, self._column = files, column
        self._count = sum(pq.read_metadata(file).num_rows for file in files)
        self._restart()

    def _restart(self) -> None:
        self._start, self._held, self._pieces = 0, pa.array([]), self._read()

    def _read(self) -> Iterator[pa.Array]:
        for file in self._files:
            # Unbuffered, the whole of a row group would be held, which may be all of the file.
            opened = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
            for piece in opened.iter_batches(_PIECE, columns=[self._column]):
                values = piece.column(self._column)
                yield values.field("bytes") if pa.types.is_struct(values.type) else values

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> bytes | None:  # type: ignore[override]
        if row >= self._count:
            raise IndexError(row)
        if row < self._start:
            self._restart()
        while row >= self._start + len(self._held):
            self._start += len(self._held)
            self._held = next(self._pieces)
        return self._held[row - self._start].as_py()


class _Files(Sequence[bytes]):
    """The contents of files, each read when it is asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> bytes:  # type: ignore[override]
        return self._files[row].read_bytes()


_PIECE, _BUFFER = 256, 2**20
"""Rows and bytes that are read at once."""


def read_table(path: Path, without: str | None = None) -> pa.Table:
    """A Parquet or CSV file, or a folder of Parquet files, without the column that is read in pieces.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    try:
        if path.suffix == ".csv":
            table = pa.csv.read_csv(path)
        else:
            files = [pq.ParquetFile(file) for file in parquet_files(path)]
            others = [[name for name in file.schema_arrow.names if name != without] for file in files]
            table = pa.concat_tables([file.read(names) for file, names in zip(files, others, strict=True)])
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error
    if not len(table):
        raise InputError(f"{path} holds no row: give one that does")
    return table


def table_rows(path: Path, columns: Columns) -> Rows:
    """The rows of a table.

    Raises:
        InputError: a column is not there or cannot be used, or a value is missing.
    """
    image = _image_column(path, columns)
    table = read_table(path, without=image)
    there = [*table.column_names, *filter(None, [image])]
    named = [columns.label, columns.image, columns.id, *(columns.features or ()), *(columns.metadata or ())]
    for name in filter(None, named):
        if name not in there:
            raise InputError(f"{path} has no column {name!r}: it has {', '.join(there)}")
    labels = table[columns.label]
    if labels.null_count:
        raise InputError(f"{path}: {columns.label!r} is null in {labels.null_count} rows: mend or drop them")
    classes, values = _class_names(table, columns.label), labels.to_pylist()
    if classes is not None:
        values = [classes[value] if isinstance(value, int) and value < len(classes) else value for value in values]
    own = [columns.label, columns.id, image]
    rest = [name for name in table.column_names if name not in own]
    numbers = [] if image else [name for name in rest if _is_number(table.schema.field(name).type)]
    features = () if image else columns.features or tuple(n for n in numbers if n not in (columns.metadata or ()))
    if not image and not features:
        raise InputError(f"{path} has no column of images and none of numbers: give dataset.image or dataset.features")
    metadata = [name for name in rest if name not in features] if columns.metadata is None else list(columns.metadata)
    if taken := [name for name in metadata if name in TAKEN]:
        raise InputError(
            f"{path}: the column {taken[0]!r} is called as one of the view examples: rename it, "
            "or list in dataset.metadata those that you want"
        )
    return Rows(
        _Images(parquet_files(path), image) if image else _vectors(table, features, path),
        values,
        _plain(table.select([*metadata, *([columns.id] if columns.id and columns.id != "example_id" else [])])),
        features,
        classes,
        table[columns.id].to_pylist() if columns.id else (),
    )


def is_image_folder(path: Path) -> bool:
    """A folder that holds no Parquet file."""
    return path.is_dir() and not parquet_files(path)


def image_files(path: Path) -> list[Path]:
    """The images of a folder a class, in their order."""
    return [file for file in sorted(path.glob("*/*")) if file.suffix.lower() in _IMAGES]


def folder_rows(path: Path) -> Rows:
    """The images of a folder, their folders' names as labels; ``path`` is known of each.

    Raises:
        InputError: there is none.
    """
    files = image_files(path)
    if not files:
        raise InputError(f"{path} holds neither .parquet files nor folders with images: one folder a class is due")
    where = pa.table({"path": [str(file.relative_to(path)) for file in files]})
    return Rows(_Files(files), [file.parent.name for file in files], where, (), None)


def _class_names(table: pa.Table, label: str) -> tuple[str, ...] | None:
    """What a file in the Hugging Face layout calls its classes."""
    said = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = said.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(names) if names else None


def _image_column(path: Path, columns: Columns) -> str | None:
    """The column of encoded images that is meant, if the file has it; which CSV cannot."""

    def holds_images(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    if path.suffix == ".csv" or columns.features:
        return None
    images = [field.name for field in _schema(path) if holds_images(field.type)]
    return next((name for name in images if columns.image in (None, name)), None)


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(parquet_files(path)[0])
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:150]
    return InputError(f"{path} cannot be read ({why}): give a .parquet or .csv file, or a folder")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _vectors(table: pa.Table, features: Sequence[str], path: Path) -> np.ndarray:
    try:
        vectors = np.stack([table[name].cast(pa.float64()).to_numpy() for name in features], axis=1)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: a feature is no number ({' '.join(str(error).split())}): leave it out") from error
    if len(bad := np.argwhere(~np.isfinite(vectors))):
        row, column = bad[0]
        raise InputError(
            f"{path}: feature {features[column]!r} of row {row} is {vectors[row, column]}: fill it in or drop the row"
        )
    return vectors


def _plain(table: pa.Table) -> pa.Table:
    """Columns of text, truth values and numbers; what is none of these as text."""
    for at, field in enumerate(table.schema):
        kind = pa.string()
        if pa.types.is_boolean(field.type):
            kind = pa.bool_()
        elif pa.types.is_integer(field.type):
            kind = pa.int64()
        elif pa.types.is_floating(field.type):
            kind = pa.float64()
        if not (pa.types.is_nested(field.type) or pa.types.is_dictionary(field.type)):
            table = table.set_column(at, field.name, table[field.name].cast(kind))
        else:
            values = [None if value is None else str(value) for value in table[field.name].to_pylist()]
            table = table.set_column(at, field.name, pa.array(values, pa.string()))
    return table.replace_schema_metadata(None)
