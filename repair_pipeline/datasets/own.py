"""Somebody's own data: a table of images or features, a folder of images a class, or a data set of torchvision."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from repair_pipeline.datasets.ids import digest, numbered
from repair_pipeline.datasets.own_tables import Rows, folder_rows, is_image_folder, table_rows
from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OwnData:
    """Parquet or CSV with a column of image bytes or columns of features and a label, or an ImageFolder."""

    train: str
    """A .parquet or .csv file, a folder of .parquet files, or a folder of images in a folder a class."""
    test: str
    label: str = "label"
    image: str | None = None
    """The column of encoded images (Hugging Face's {bytes, path} too); None: the one there is."""
    features: tuple[str, ...] | None = None
    """None: all columns of numbers that are neither label, id nor metadata."""
    id: str | None = None
    """The column that names examples; None: the hash of the input's bytes."""
    metadata: tuple[str, ...] | None = None
    """None: all other columns."""
    transform: str | None = None
    """``package.module:function`` of a PIL image, or of a float32 vector of features; returns floats."""
    classes: tuple[str, ...] | None = None
    """In the order of the model's outputs; None: what the file says, or the sorted training labels."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TorchvisionData:
    """A data set of torchvision with a training and a test part, read from the data folder and never downloaded."""

    torchvision: str
    transform: str | None = None


def read(spec: OwnData, folder: Path) -> Dataset:
    """The owner's data. Images without a transform are scaled to [0, 1]; features are taken as they are.

    Args:
        folder: what relative paths start from.

    Raises:
        InputError: the data cannot be used; says the file, the column or the row.
    """
    parts = []
    for path in (folder / spec.train, folder / spec.test):
        if not path.exists():
            raise InputError(f"{path} does not exist: give dataset.train and dataset.test, from {folder.resolve()}")
        parts.append(folder_rows(path) if is_image_folder(path) else table_rows(path, spec))
    train, test = parts
    if len(train.features) != len(test.features) or train.features != test.features:
        raise InputError(f"{spec.test} has the features {', '.join(test.features)}, {spec.train} has others")
    classes = spec.classes or train.classes or _sorted_classes(train.labels)
    return _dataset(train, test, tuple(map(str, classes)), spec.transform, spec.id)


def read_torchvision(spec: TorchvisionData, folder: Path) -> Dataset:
    """A data set of torchvision; its rows are known by their ``position`` too.

    Raises:
        InputError: torchvision has no such data set, or it is not in ``folder``.
    """
    import torchvision  # here: it takes seconds, and most commands do without

    make = getattr(torchvision.datasets, spec.torchvision, None)
    if make is None:
        raise InputError(f"dataset.torchvision is {spec.torchvision!r}, which torchvision.datasets has not")
    try:
        found = [make(str(folder), train=part) for part in (True, False)]
    except (RuntimeError, TypeError, OSError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{spec.torchvision} cannot be read from {folder} ({why}): set REPAIR_DATA_DIR") from error
    parts = [_torchvision_rows(part) for part in found]
    classes = tuple(str(name) for name in getattr(found[0], "classes", ())) or _sorted_classes(parts[0].labels)
    train, test = (replace(rows, labels=[classes[int(label)] for label in rows.labels]) for rows in parts)
    return _dataset(train, test, classes, spec.transform)


def _torchvision_rows(part: Any) -> Rows:
    images, labels = zip(*part, strict=True)
    return Rows(list(images), list(labels), pa.table({"position": list(range(len(images)))}), (), None)


def _sorted_classes(labels: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(str, sorted(set(labels))))


def _dataset(
    train: Rows, test: Rows, classes: tuple[str, ...], transform: str | None, id_column: str | None = None
) -> Dataset:
    if len(classes) < 2:
        raise InputError(f"the training rows hold one class only ({classes[0]}): give two or more")
    digests = [[digest(_content(row)) for row in rows.inputs] for rows in (train, test)]
    everything = [name for part in digests for name in part]
    ids = numbered(everything) if id_column is None else _named(id_column, [*train.names, *test.names])
    inputs = [_Prepared(rows.inputs, transform, where) for rows, where in ((train, "training"), (test, "test"))]
    if inputs[0].shape[1:] != inputs[1].shape[1:]:
        raise InputError(
            f"training rows are {_size(inputs[0].shape)} and test rows {_size(inputs[1].shape)}: "
            "give a transform that resizes"
        )
    labels = [_numbers(rows.labels, classes, where) for rows, where in ((train, "training"), (test, "test"))]
    metadata = pa.concat_tables([train.metadata, test.metadata], promote_options="permissive")
    known = metadata.add_column(0, "example_id", pa.array(ids.tolist())) if metadata.num_columns else None
    cut, in_training = len(train.labels), set(digests[0])
    return Dataset(
        train=Examples(ids[:cut], inputs[0], labels[0]),
        test=Examples(ids[cut:], inputs[1], labels[1]),
        classes=classes,
        mean=torch.zeros(inputs[0].shape[1]),
        metadata=known,
        also_in_training=frozenset(
            example_id for example_id, name in zip(ids[cut:].tolist(), digests[1], strict=True) if name in in_training
        ),
    )


def _content(row: Any) -> bytes:
    if isinstance(row, bytes):
        return row
    return row.tobytes() if isinstance(row, (np.ndarray, Image.Image)) else repr(row).encode()


def _named(column: str, names: Sequence[Any]) -> NDArray[np.str_]:
    counted = Counter(map(str, names))
    name, count = counted.most_common(1)[0]
    if count > 1:
        raise InputError(
            f"dataset.id is {column!r} and {name!r} stands {count} times in it, train and test together: "
            "name a column that does not repeat, or leave it out: then the input's hash is the id"
        )
    return np.array([str(each) for each in names], dtype=np.str_)


def _numbers(labels: Sequence[Any], classes: tuple[str, ...], where: str) -> Tensor:
    at = {name: number for number, name in enumerate(classes)}
    for row, label in enumerate(labels):
        if str(label) not in at:
            raise InputError(
                f"{where} row {row} has the label {label!r}, the classes are {', '.join(classes[:20])}: "
                "mend the row, or give dataset.classes"
            )
    return torch.tensor([at[str(label)] for label in labels])


def _size(shape: torch.Size) -> str:
    return "×".join(map(str, shape[1:]))


class _Prepared:
    """Raw inputs as tensors, each made when it is asked for.

    Raises:
        InputError: a row cannot be made, or is of another size than the first.
    """

    def __init__(self, rows: Sequence[Any] | NDArray[np.float64], transform: str | None, where: str) -> None:
        self._rows, self._where = rows, where
        self._own = entry_point("dataset.transform", transform) if transform else None
        self._images = not isinstance(rows, np.ndarray)
        self._grey = (
            self._images
            and self._own is None
            and all(_image(row, where, at).mode in _GREY for at, row in enumerate(rows))
        )
        self.shape = torch.Size([len(rows), *self._made(0).shape])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Tensor) -> Tensor:
        made = torch.empty((len(rows), *self.shape[1:]))
        for place, at in enumerate(rows.tolist()):
            tensor = self._made(at)
            if tensor.shape != self.shape[1:]:
                shape = "×".join(map(str, tensor.shape))
                raise InputError(
                    f"images of mixed size: {self._where} row {at} is {shape}, the first is {_size(self.shape)}: "
                    "give a transform that resizes"
                )
            made[place] = tensor
        return made

    def _made(self, at: int) -> Tensor:
        raw = self._rows[at]
        if self._images:
            raw = _image(raw, self._where, at)
        try:
            tensor = self._own(raw) if self._own else _scaled(raw, self._grey) if self._images else raw
            return torch.as_tensor(np.asarray(tensor) if not isinstance(tensor, Tensor) else tensor).float()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"dataset.transform fails on {self._where} row {at} ({why}): mend it") from error


_GREY = ("L", "1", "I;16")


def _image(row: Any, where: str, at: int) -> Image.Image:
    if isinstance(row, Image.Image):
        return row
    try:
        return Image.open(io.BytesIO(row))
    except (UnidentifiedImageError, OSError) as error:
        size = 0 if row is None else len(row)
        raise InputError(f"{where} row {at} holds {size} bytes that are no image: mend or drop the row") from error


def _scaled(image: Image.Image, grey: bool) -> NDArray[np.floating]:
    pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / np.float32(255)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)
