"""The rows of a Parquet or CSV file, and of a folder of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.datasets.columns import plain, usual_features, vectors
from repair_pipeline.datasets.labels import Labels, label_column
from repair_pipeline.datasets.table_files import delimiter, is_unnamed, parquet_files, read_table, schema, text_of
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
    labels: Labels
    metadata: pa.Table
    features: tuple[str, ...]
    """Their columns; none for images."""
    names: Sequence[str] = ()
    """The values of the id column, as text."""


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


def rows_at(path: Path, columns: Columns) -> Rows:
    """The rows of a table, or of a folder of images.

    Raises:
        InputError: they cannot be used.
    """
    return folder_rows(path) if is_image_folder(path) else table_rows(path, columns)


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
    labels = label_column(path, table, columns.label, class_places(table, columns.label))
    rest = [name for name in table.column_names if name not in (columns.label, columns.id, image)]
    features = () if image else columns.features or usual_features(table, rest, columns.metadata or ())
    if not image and not features:
        raise InputError(f"{path} has no column of images and none of numbers: give dataset.image or dataset.features")
    others = [name for name in rest if name not in features and not is_unnamed(name)]
    metadata = others if columns.metadata is None else list(columns.metadata)
    if taken := [name for name in metadata if name in TAKEN]:
        raise InputError(
            f"{path}: the column {taken[0]!r} is called as one of the view examples: rename it, "
            "or list in dataset.metadata those that you want"
        )
    names = text_of(path, table, columns.id) if columns.id else []
    if columns.id and names != [str(value) for value in table[columns.id].to_pylist()]:
        # What a CSV file writes as 00037 is an id, not the number 37.
        table = table.set_column(table.column_names.index(columns.id), columns.id, pa.array(names, pa.string()))
    return Rows(
        _Images(parquet_files(path), image) if image else vectors(table, features, path),
        labels,
        plain(table.select([*metadata, *([columns.id] if columns.id and columns.id != "example_id" else [])])),
        features,
        names,
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
    labels = Labels([file.parent.name for file in files], pa.string())
    return Rows(_Files(files), labels, where, ())


def class_places(table: pa.Table, label: str) -> tuple[str, ...] | None:
    """What a file in the Hugging Face layout calls its classes, of which an integer label is a place."""
    said = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = said.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(map(str, names)) if names else None


def _image_column(path: Path, columns: Columns) -> str | None:
    """The column of encoded images that is meant, if the file has it; which CSV cannot."""

    def holds_images(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    if delimiter(path) or columns.features:
        return None
    images = [field.name for field in schema(path) if holds_images(field.type) and field.name != columns.label]
    return next((name for name in images if columns.image in (None, name)), None)
