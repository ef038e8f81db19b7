"""Reading the rows of a Parquet or CSV file, or of a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from repair_pipeline.datasets.column_values import holds_bytes, values_of
from repair_pipeline.datasets.columns import default_features, plain, vectors
from repair_pipeline.datasets.label_columns import Labels, holds_lists, label_column
from repair_pipeline.datasets.labels import class_name, shown
from repair_pipeline.datasets.prepared import ImageFiles
from repair_pipeline.datasets.table_files import (
    UNREADABLE,
    in_metadata,
    is_hidden,
    is_text,
    is_unnamed,
    parquet_files,
    read_table,
    require_file,
    schema,
    text_of,
    unreadable,
)
from repair_pipeline.errors import InputError
from repair_pipeline.types import LabelForm, Remark

RESERVED = (
    "case_id",
    "example_id",
    "split",
    "label",
    "clean_label",
    "label_value",
    "clean_label_value",
    "label_text",
    "corrupted",
    "label_changed",
    "failure_group",
    "predicted",
)
"""Column names of the view ``examples`` and of predicates, which metadata columns must not have."""
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".webp", ".tif", ".tiff"}
_LITTER = {"Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw inputs with their labels and metadata, in the file's order."""

    inputs: Sequence[Any] | np.ndarray
    """Encoded images, PIL images, texts, dicts of several columns, or float64 feature vectors."""
    labels: Labels
    metadata: pa.Table
    features: tuple[str, ...]
    """Names of the feature columns; empty for images."""
    names: Sequence[str] = ()
    """The values of the id column as text; empty if there is none."""
    remarks: tuple[Remark, ...] = ()
    """What was noticed beside the rows."""


@runtime_checkable
class Columns(Protocol):
    """The roles of a table's columns."""

    @property
    def label(self) -> str: ...
    @property
    def image(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def inputs(self) -> tuple[str, ...] | None: ...
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
            try:
                parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
                for batch in parquet.iter_batches(_CHUNK, columns=[self._column]):
                    values = batch.column(self._column)
                    yield pc.struct_field(values, "bytes") if pa.types.is_struct(values.type) else values
            except UNREADABLE as error:
                raise unreadable(file, error) from error

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


_CHUNK, _BUFFER = 256, 2**20
"""Rows and bytes that are read at once."""


def rows_at(path: Path, columns: Columns, like: tuple[str, ...] = (), form: LabelForm = LabelForm.CLASS) -> Rows:
    """The rows of a table, or of a folder of images.

    Args:
        path: a table file, a folder of Parquet files, or a folder of images.
        columns: the roles of a table's columns.
        like: features of other rows, in whose order these rows have theirs if they have the same.
        form: what a label is.

    Raises:
        InputError: they cannot be used, or a column is named for a folder of images, which has none.
    """
    require_file(path)
    return folder_rows(path, columns) if is_image_folder(path) else table_rows(path, columns, like, form)


def table_rows(path: Path, columns: Columns, like: tuple[str, ...] = (), form: LabelForm = LabelForm.CLASS) -> Rows:
    """The rows of a table.

    Args:
        path: a table file, or a folder of Parquet files.
        columns: the roles of the columns.
        like: features of other rows, in whose order these rows have theirs if they have the same.
        form: what a label is.

    Raises:
        InputError: a column is missing or cannot be used, or a value is missing.
    """
    image = _image_column(path, columns)
    table = read_table(path, without=image)
    present = [*table.column_names, *filter(None, [image])]
    required: list[tuple[str, Sequence[str | None]]] = [
        ("label", [columns.label]),
        ("image", [columns.image]),
        ("text", [columns.text]),
        ("inputs", columns.inputs or ()),
        ("id", [columns.id]),
        ("features", columns.features or ()),
        ("metadata", columns.metadata or ()),
    ]
    for key, wanted in required:
        if missing := [name for name in wanted if name is not None and name not in present]:
            raise InputError(f"{path} has no column {missing[0]!r}: it has {shown(present)}; set dataset.{key}")
    if columns.image and not image:
        kind = table.schema.field(columns.image).type
        raise InputError(
            f"{path}: dataset.image is {columns.image!r}, which holds {kind}: images are encoded as bytes, or as "
            "Hugging Face's {bytes, path}, in Parquet"
        )
    labels = label_column(path, table, columns.label, class_places(table, columns.label), form)
    rest = [name for name in table.column_names if name not in (columns.label, columns.id, image)]
    others_read = bool(image or columns.text or columns.inputs)
    features = () if others_read else columns.features or default_features(table, rest, columns.metadata or ())
    if set(features) == set(like):
        features = like
    if not others_read and not features:
        kinds = shown((f"{name} ({table.schema.field(name).type})" for name in rest), 5) or "nothing"
        raise InputError(
            f"{path} has no image column and no numeric column, but {kinds}: set dataset.image, "
            "dataset.text or dataset.features"
        )
    others = [name for name in rest if name not in features and not is_unnamed(name)]
    if columns.metadata is None:
        metadata = [name for name in others if not holds_images(table.schema.field(name).type)]
    else:
        metadata = [name for name in columns.metadata if name != columns.id]
    if reserved := [name for name in metadata if name in RESERVED]:
        raise InputError(
            f"{path}: the column {reserved[0]!r} has the name of a column of the view examples: rename it, "
            "or list the metadata columns that you want in dataset.metadata"
        )
    names = _names(path, table, columns.id) if columns.id else []
    if columns.id and names != [str(value) for value in values_of(path, table, columns.id)]:
        # An id that the CSV file writes as 00037 must not become the number 37.
        table = table.set_column(table.column_names.index(columns.id), columns.id, pa.array(names, pa.string()))
    return Rows(
        _Images(parquet_files(path), image) if image else _inputs(path, table, columns, features, form),
        labels,
        plain(table.select([*metadata, *([columns.id] if columns.id and columns.id != "example_id" else [])]), path),
        features,
        names,
    )


def _inputs(
    path: Path, table: pa.Table, columns: Columns, features: Sequence[str], form: LabelForm
) -> Sequence[Any] | np.ndarray:
    """Texts, lists of words if each has a label, dicts of several columns, or vectors of features."""
    if columns.text:
        kind = table.schema.field(columns.text).type
        texts = values_of(path, table, columns.text)
        words = form is LabelForm.TAGS and holds_lists(kind)
        present = [text for text in texts if text is not None]
        if not all(isinstance(each, str) for text in present for each in (text if words else [text])):
            raise InputError(f"{path}: dataset.text is {columns.text!r}, which holds {kind}: give a column of text")
        if None in texts:
            raise InputError(f"{path}: the text {columns.text!r} of row {texts.index(None)} is missing: fix or drop it")
        return texts
    if columns.inputs:
        values = [values_of(path, table, name) for name in columns.inputs]
        return [dict(zip(columns.inputs, row, strict=True)) for row in zip(*values, strict=True)]
    return vectors(table, features, path)


def _names(path: Path, table: pa.Table, column: str) -> list[str]:
    """The id of each row."""
    kind = table.schema.field(column).type
    if pa.types.is_nested(kind) or holds_bytes(kind):
        raise InputError(f"{path}: the id {column!r} holds {kind}: give ids as text or numbers")
    names = text_of(path, table, column)
    # NumPy, which holds the ids, takes a zero character at the end of a text for its end.
    for what, at in (("missing", names.index("") if "" in names else -1), ("not text", _first_with_zero(names))):
        if at >= 0:
            raise InputError(
                f"{path}: the id {column!r} of row {at} is {what}: fix or drop the row, or leave out dataset.id"
            )
    return names


def _first_with_zero(names: Sequence[str]) -> int:
    return next((at for at, name in enumerate(names) if "\0" in name), -1)


def is_image_folder(path: Path) -> bool:
    """Whether ``path`` is a folder without Parquet files."""
    return path.is_dir() and not parquet_files(path)


def image_files(path: Path) -> list[Path]:
    """The image files in the class folders of ``path``, sorted; hidden files and folders are left out."""
    files = (file for file in sorted(path.glob("*/*")) if file.suffix.lower() in _IMAGES and file.is_file())
    return [file for file in files if not is_hidden(file) and not is_hidden(file.parent)]


def folder_rows(path: Path, columns: Columns) -> Rows:
    """The images of a folder with one subfolder per class; the subfolder is the label, ``path`` is metadata.

    Raises:
        InputError: there are no images, or a column is named that they do not have.
    """
    files = image_files(path)
    if not files:
        holds = shown(sorted(file.name for file in path.iterdir()), 3) or "nothing"
        raise InputError(
            f"{path} has neither .parquet files nor folders of images, but {holds}: give one folder of images per class"
        )
    for key in ("image", "text", "inputs", "features", "id", "metadata"):
        named = getattr(columns, key)
        if named and named != ("path",):
            raise InputError(
                f"dataset.{key} is {named if isinstance(named, str) else shown(named)}, but {path} is a folder of "
                "images, whose only column is path: leave it out"
            )
    metadata = pa.table({"path": [file.relative_to(path).as_posix() for file in files]})
    labels = Labels([file.parent.name for file in files], pa.string())
    return Rows(ImageFiles(path, files), labels, metadata, (), remarks=_left_out(path, set(files)))


def _left_out(path: Path, read: set[Path]) -> tuple[Remark, ...]:
    """What a folder of images holds beside the images that are read."""
    entries = sorted(entry for entry in path.glob("*/*") if entry not in read and not is_hidden(entry.parent))
    entries += sorted(entry for entry in path.iterdir() if entry.is_file() or is_hidden(entry))
    folders = {file.parent for file in read}
    empty = sorted(
        entry for entry in path.iterdir() if entry.is_dir() and not is_hidden(entry) and entry not in folders
    )
    hidden = [entry for entry in entries if is_hidden(entry) or entry.name in _LITTER]
    others = [entry for entry in entries if entry not in hidden and entry.parent not in empty]
    return tuple(
        Remark(f"{path.name}: {what}: {shown((entry.relative_to(path).as_posix() for entry in left_out), 3)}", fine)
        for left_out, what, fine in (
            (hidden, "hidden, so not read", True),
            (others, "no image in the folder of a class, so not read", False),
            (empty, "without images, so no class", False),
        )
        if left_out
    )


def class_places(table: pa.Table, label: str) -> tuple[str, ...] | None:
    """The class names in the metadata of a Hugging Face file, which its integers or lists of them index; or None."""
    described = "huggingface", "info", "features", label
    names = in_metadata(table, *described, "names") or in_metadata(table, *described, "feature", "names")
    return tuple(map(class_name, names)) if isinstance(names, list) and names else None


def holds_images(kind: pa.DataType) -> bool:
    """Whether a value is an encoded image, or Hugging Face's {bytes, path}."""
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and holds_bytes(kind.field(at).type)
    return holds_bytes(kind)


def _image_column(path: Path, columns: Columns) -> str | None:
    """The image column: ``columns.image`` or the first column of images; None if there is none, as in files of text."""
    if is_text(path) or columns.features or columns.text or columns.inputs:
        return None
    roles = (columns.label, columns.id, *(columns.metadata or ()))
    images = [field.name for field in schema(path) if holds_images(field.type) and field.name not in roles]
    return next((name for name in images if columns.image in (None, name)), None)
