"""Reading the rows of a Parquet or CSV file, or of a folder of images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.datasets.columns import default_features, plain, vectors
from repair_pipeline.datasets.labels import Labels, label_column
from repair_pipeline.datasets.table_files import delimiter, is_unnamed, parquet_files, read_table, schema, text_of
from repair_pipeline.errors import InputError

RESERVED = (
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
"""Column names of the view ``examples`` and of predicates, which metadata columns must not have."""
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw inputs with their labels and metadata, in the file's order."""

    inputs: Sequence[Any] | np.ndarray
    """Encoded images, PIL images, or float64 feature vectors."""
    labels: Labels
    metadata: pa.Table
    features: tuple[str, ...]
    """Names of the feature columns; empty for images."""
    names: Sequence[str] = ()
    """The values of the id column as text; empty if there is none."""


@runtime_checkable
class Columns(Protocol):
    """The roles of a table's columns."""

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
    """A column of encoded images, None where one is missing. Read forwards in chunks; going back starts again."""

    def __init__(self, files: Sequence[Path], column: str) -> None:
        self._files, self._column = files, column
        self._count = sum(pq.read_metadata(file).num_rows for file in files)
        self._restart()

    def _restart(self) -> None:
        self._start, self._chunk, self._chunks = 0, pa.array([]), self._read()

    def _read(self) -> Iterator[pa.Array]:
        for file in self._files:
            # Without a buffer size, Arrow would hold a whole row group in memory, possibly all of the file.
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
            for batch in parquet.iter_batches(_CHUNK, columns=[self._column]):
                values = batch.column(self._column)
                yield values.field("bytes") if pa.types.is_struct(values.type) else values

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> bytes | None:  # type: ignore[override]
        if row >= self._count:
            raise IndexError(row)
        if row < self._start:
            self._restart()
        while row >= self._start + len(self._chunk):
            self._start += len(self._chunk)
            self._chunk = next(self._chunks)
        return self._chunk[row - self._start].as_py()


class _Files(Sequence[bytes]):
    """The contents of files, read on access."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> bytes:  # type: ignore[override]
        return self._files[row].read_bytes()


_CHUNK, _BUFFER = 256, 2**20
"""Rows and bytes that are read at once."""


def rows_at(path: Path, columns: Columns) -> Rows:
    """The rows of a table, or of a folder of images.

    Args:
        path: a table file, a folder of Parquet files, or a folder of images.
        columns: the roles of a table's columns; not used for a folder of images.

    Raises:
        InputError: they cannot be used.
    """
    return folder_rows(path) if is_image_folder(path) else table_rows(path, columns)


def table_rows(path: Path, columns: Columns) -> Rows:
    """The rows of a table.

    Args:
        path: a table file, or a folder of Parquet files.
        columns: the roles of the columns.

    Raises:
        InputError: a column is missing or cannot be used, or a value is missing.
    """
    image = _image_column(path, columns)
    table = read_table(path, without=image)
    present = [*table.column_names, *filter(None, [image])]
    required: list[tuple[str, Sequence[str | None]]] = [
        ("label", [columns.label]),
        ("image", [columns.image]),
        ("id", [columns.id]),
        ("features", columns.features or ()),
        ("metadata", columns.metadata or ()),
    ]
    for key, wanted in required:
        if missing := [name for name in wanted if name is not None and name not in present]:
            raise InputError(f"{path} has no column {missing[0]!r}: it has {', '.join(present)}; set dataset.{key}")
    labels = label_column(path, table, columns.label, class_places(table, columns.label))
    rest = [name for name in table.column_names if name not in (columns.label, columns.id, image)]
    features = () if image else columns.features or default_features(table, rest, columns.metadata or ())
    if not image and not features:
        raise InputError(f"{path} has no image column and no numeric column: set dataset.image or dataset.features")
    others = [name for name in rest if name not in features and not is_unnamed(name)]
    metadata = others if columns.metadata is None else list(columns.metadata)
    if reserved := [name for name in metadata if name in RESERVED]:
        raise InputError(
            f"{path}: the column {reserved[0]!r} has the name of a column of the view examples: rename it, "
            "or list the metadata columns that you want in dataset.metadata"
        )
    names = text_of(path, table, columns.id) if columns.id else []
    if columns.id and names != [str(value) for value in table[columns.id].to_pylist()]:
        # An id that the CSV file writes as 00037 must not become the number 37.
        table = table.set_column(table.column_names.index(columns.id), columns.id, pa.array(names, pa.string()))
    return Rows(
        _Images(parquet_files(path), image) if image else vectors(table, features, path),
        labels,
        plain(table.select([*metadata, *([columns.id] if columns.id and columns.id != "example_id" else [])])),
        features,
        names,
    )


def is_image_folder(path: Path) -> bool:
    """Whether ``path`` is a folder without Parquet files."""
    return path.is_dir() and not parquet_files(path)


def image_files(path: Path) -> list[Path]:
    """The image files in the class folders of ``path``, sorted."""
    return [file for file in sorted(path.glob("*/*")) if file.suffix.lower() in _IMAGES]


def folder_rows(path: Path) -> Rows:
    """The images of a folder with one subfolder per class; the subfolder is the label, ``path`` is metadata.

    Raises:
        InputError: there are no images.
    """
    files = image_files(path)
    if not files:
        raise InputError(
            f"{path} has neither .parquet files nor folders of images: give one folder of images per class"
        )
    metadata = pa.table({"path": [str(file.relative_to(path)) for file in files]})
    labels = Labels([file.parent.name for file in files], pa.string())
    return Rows(_Files(files), labels, metadata, ())


def class_places(table: pa.Table, label: str) -> tuple[str, ...] | None:
    """The class names in the metadata of a Hugging Face file, which its integer labels index; None if absent."""
    metadata = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = metadata.get("info", {}).get("features", {}).get(label, {}).get("names")
    return tuple(map(str, names)) if names else None


def _image_column(path: Path, columns: Columns) -> str | None:
    """The image column: ``columns.image`` or the first column of images; None if there is none, as in CSV files."""

    def holds_images(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    if delimiter(path) or columns.features:
        return None
    images = [field.name for field in schema(path) if holds_images(field.type) and field.name != columns.label]
    return next((name for name in images if columns.image in (None, name)), None)
