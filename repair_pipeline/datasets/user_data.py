"""Somebody's own data: a table of images or features, a folder of images a class, or a data set of torchvision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from repair_pipeline.datasets.columns import joined
from repair_pipeline.datasets.ids import digest, numbered
from repair_pipeline.datasets.labels import Labels, class_name
from repair_pipeline.datasets.prepared import Prepared, Scale, size
from repair_pipeline.datasets.table_files import require_local
from repair_pipeline.datasets.user_tables import Rows, rows_at
from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UserData:
    """Parquet or CSV with a column of image bytes or columns of features and a label, or an ImageFolder."""

    train: str
    """A .parquet, .csv or .tsv file, a folder of .parquet files, or a folder of images in a folder a class."""
    test: str
    label: str = "label"
    image: str | None = None
    """The column of encoded images (Hugging Face's {bytes, path} too); None: the one there is."""
    features: tuple[str, ...] | None = None
    """Of numbers, or of vectors. None: all columns of numbers that are neither label, id, metadata nor an index."""
    id: str | None = None
    """The column that names examples; None: the hash of the input's bytes."""
    metadata: tuple[str, ...] | None = None
    """None: all other columns."""
    transform: str | None = None
    """``package.module:function`` of a PIL image, or of a float32 vector of features; returns floats."""
    classes: tuple[str, ...] | None = None
    """In the order of the model's outputs; None: what the file says, or the sorted training labels."""

    @field_validator("classes", mode="before")
    @classmethod
    def _named_as_labels(cls, classes: Any) -> Any:
        """A number is called as a label that is that number: 1 and 1.0 are ``1``."""
        if not isinstance(classes, list | tuple):
            return classes
        numbers = [type(name) in (int, float) and isfinite(name) for name in classes]
        return [class_name(name) if number else name for name, number in zip(classes, numbers, strict=True)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TorchvisionData:
    """A data set of torchvision with a training and a test part, read from the data folder and never downloaded."""

    torchvision: str
    transform: str | None = None


def read(spec: UserData, folder: Path) -> Dataset:
    """The owner's data. Images without a transform are scaled to [0, 1]; features are taken as they are.

    Args:
        folder: what relative paths start from.

    Raises:
        InputError: the data cannot be used; says the file, the column or the row.
    """
    parts = []
    for key, name in (("dataset.train", spec.train), ("dataset.test", spec.test)):
        require_local(key, name)
        path = folder / name
        if not path.exists():
            raise InputError(f"{path} does not exist: give {key} from {folder.resolve()}, where the case file is")
        parts.append(rows_at(path, spec))
    train, test = parts
    if train.features != test.features:
        raise InputError(
            f"{spec.test} has the features {', '.join(test.features)}, {spec.train} has {', '.join(train.features)}: "
            "give dataset.features, which both have"
        )
    classes = spec.classes or train.labels.places or train.labels.sorted_names
    return _dataset(train, test, tuple(classes), _transform(spec.transform, folder), spec.id)


def read_torchvision(spec: TorchvisionData, data_dir: Path, folder: Path) -> Dataset:
    """A data set of torchvision; its rows are known by their ``position`` too.

    Args:
        data_dir: where torchvision's data sets lie.
        folder: where the transform's module is found.

    Raises:
        InputError: torchvision has no such data set, or it is not in ``data_dir``.
    """
    import torchvision  # here: it takes seconds, and most commands do without

    make = getattr(torchvision.datasets, spec.torchvision, None)
    if make is None:
        raise InputError(f"dataset.torchvision is {spec.torchvision!r}, which torchvision.datasets has not")
    try:
        found = [make(str(data_dir), train=part) for part in (True, False)]
    except (RuntimeError, TypeError, OSError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{spec.torchvision} cannot be read from {data_dir} ({why}): set REPAIR_DATA_DIR") from error
    places = tuple(str(name) for name in getattr(found[0], "classes", ())) or None
    train, test = (_torchvision_rows(part, places) for part in found)
    return _dataset(train, test, places or train.labels.sorted_names, _transform(spec.transform, folder))


def torchvision_folder(name: str, data_dir: Path) -> Path:
    """Where torchvision keeps the files of a data set: the folder that its class names, or one of its own name."""
    own = data_dir / name
    if own.is_dir():
        return own
    import torchvision  # here: it takes seconds, and most commands do without

    make = getattr(torchvision.datasets, name, None)
    return data_dir / str(getattr(make, "base_folder", name))


def _torchvision_rows(part: Any, places: tuple[str, ...] | None) -> Rows:
    images, labels = zip(*part, strict=True)
    column = Labels([int(label) for label in labels], pa.int64(), places)
    return Rows(list(images), column, pa.table({"position": list(range(len(images)))}), ())


Transform = Callable[[Any], Any] | None


def _transform(name: str | None, folder: Path) -> Transform:
    return entry_point("dataset.transform", name, folder) if name else None


def _dataset(
    train: Rows, test: Rows, classes: tuple[str, ...], transform: Transform, id_column: str | None = None
) -> Dataset:
    if len(classes) < 2:
        raise InputError(f"the training rows hold one class only ({classes[0]}): give two or more")
    digests = [[digest(content(row)) for row in rows.inputs] for rows in (train, test)]
    everything = [name for part in digests for name in part]
    ids = numbered(everything) if id_column is None else _named(id_column, [*train.names, *test.names])
    labels = [rows.labels.numbers(classes, where) for rows, where in ((train, "training"), (test, "test"))]
    inputs = _prepared(train, test, transform)
    if inputs[0].shape[1:] != inputs[1].shape[1:]:
        raise InputError(
            f"training rows are {size(inputs[0].shape)} and test rows {size(inputs[1].shape)}: "
            "give a transform that resizes"
        )
    metadata = joined(train.metadata, test.metadata)
    known = metadata.add_column(0, "example_id", pa.array(ids.tolist())) if metadata.num_columns else None
    cut, in_training = len(train.labels.values), set(digests[0])
    return Dataset(
        train=Examples(ids[:cut], inputs[0], labels[0]),
        test=Examples(ids[cut:], inputs[1], labels[1]),
        classes=classes,
        mean=torch.zeros(inputs[0].shape[1]),
        metadata=known,
        features=train.features,
        also_in_training=frozenset(
            example_id for example_id, name in zip(ids[cut:].tolist(), digests[1], strict=True) if name in in_training
        ),
    )


def content(row: Any) -> bytes:
    """The bytes of a raw input, which its id is the hash of."""
    if isinstance(row, bytes):
        return row
    return row.tobytes() if isinstance(row, (np.ndarray, Image.Image)) else repr(row).encode()


def _named(column: str, names: Sequence[str]) -> NDArray[np.str_]:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"dataset.id is {column!r} and {name!r} stands {count} times in it, train and test together: "
            "name a column that does not repeat, or leave it out: then the input's hash is the id"
        )
    return np.array(names, dtype=np.str_)


def _prepared(train: Rows, test: Rows, transform: Transform) -> tuple[Prepared, Prepared]:
    """The inputs of both parts; what is white in deep images is decided over the training rows."""
    of_train = of_test = None
    if transform is None and not (isinstance(train.inputs, np.ndarray) or isinstance(test.inputs, np.ndarray)):
        of_train = Scale(train.inputs, "training")
        of_test = Scale(test.inputs, "test", of_train.white)
    return Prepared(train.inputs, transform, "training", of_train), Prepared(test.inputs, transform, "test", of_test)
