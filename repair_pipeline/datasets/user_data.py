"""User data: tables of images or features, folders of images by class, and torchvision's data sets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ConfigDict, Field, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.datasets.columns import joined
from repair_pipeline.datasets.ids import digest, numbered
from repair_pipeline.datasets.label_columns import Labels
from repair_pipeline.datasets.labels import class_name, number_in, shown
from repair_pipeline.datasets.prepared import Prepared, Scale
from repair_pipeline.datasets.table_files import require_local
from repair_pipeline.datasets.tokenizing import Completions, Tokenizer, Words, words_of
from repair_pipeline.datasets.user_tables import Rows, rows_at
from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.types import PADDING, Dataset, Examples, LabelForm, Remark


def is_none(value: object) -> bool:
    """Leaves a key out of a case that does not have it, so that cases of earlier versions keep their ids."""
    return value is None


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UserData:
    """A table with a label column and images, texts, features or several columns; or an ImageFolder."""

    train: str
    """A table file, a folder of .parquet files, or a folder with one subfolder of images per class."""
    test: str
    label: str = "label"
    image: str | None = None
    """The column of encoded images (also Hugging Face's {bytes, path}); None: the first such column."""
    text: str | None = Field(default=None, exclude_if=is_none)
    """The column of text, which the tokenizer or the transform reads."""
    tokenizer: str | None = Field(default=None, exclude_if=is_none)
    """The folder of a tokenizer of the transformers library; its tensors are the model's inputs, by name."""
    max_length: PositiveInt | None = Field(default=None, exclude_if=is_none)
    """Tokens that are kept of a text; shorter ones are padded. None: as many as the longest training text has."""
    inputs: tuple[str, ...] | None = Field(default=None, exclude_if=is_none)
    """Several columns of any kind, which the transform gets as a dict."""
    features: tuple[str, ...] | None = None
    """Feature columns, of numbers or vectors. None: all numeric columns except label, id, metadata and indices."""
    id: str | None = None
    """The column of example ids; None: the hash of the input's bytes."""
    metadata: tuple[str, ...] | None = None
    """Metadata columns; None: all other columns."""
    transform: str | None = None
    """``package.module:function``, called with a PIL image, a float32 feature vector, a text, or a dict of ``inputs``.
    It returns numbers, or several tensors: a dict by the names of the model's arguments, or a tuple in their order."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of the model's outputs; None: from the file, else the sorted training labels."""

    @field_validator("classes", mode="before")
    @classmethod
    def _named_as_labels(cls, classes: Any) -> Any:
        """Convert numbers to the names of labels with that value: 1 and 1.0 become ``1``."""
        if not isinstance(classes, list | tuple):
            return classes
        named = [type(name) is str or (type(name) in (int, float) and isfinite(name)) for name in classes]
        return [class_name(name) if known else name for name, known in zip(classes, named, strict=True)]

    @field_validator("inputs", "features", "metadata", "classes")
    @classmethod
    def _each_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        name, count = Counter(names).most_common(1)[0] if names else ("", 0)
        if count > 1:
            raise ValueError(f"{name!r} is listed {count} times: list it once")
        return names

    @field_validator("inputs", "features", "classes")
    @classmethod
    def _at_least_one(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names == ():
            raise ValueError("the list is empty: name some, or leave the key out")
        return names

    @model_validator(mode="after")
    def _one_role_each(self) -> UserData:
        given = [key for key in ("image", "text", "inputs", "features") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} are both given: give one of them")
        if self.text and not (self.tokenizer or self.transform):
            raise ValueError("text is given, but nothing to read it: give tokenizer or transform")
        if self.inputs and not self.transform:
            raise ValueError("inputs are given, but nothing to read them: give transform")
        if self.tokenizer and (self.transform or not self.text):
            raise ValueError("tokenizer reads the column of text: give text, and no transform")
        if self.max_length and not self.tokenizer:
            raise ValueError("max_length cuts what the tokenizer returns: give tokenizer, or leave it out")
        for key, names in (
            ("features", self.features or ()),
            ("inputs", self.inputs or ()),
            ("image", (self.image,)),
            ("text", (self.text,)),
            ("id", (self.id,)),
        ):
            if self.label in names:
                raise ValueError(f"{key} names the label {self.label!r}: give another column")
        return self


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TorchvisionData:
    """A torchvision data set with a training and a test split, read from the data folder and never downloaded."""

    torchvision: str
    transform: str | None = None


def read(spec: UserData, folder: Path, form: LabelForm = LabelForm.CLASS) -> Dataset:
    """Read user data. Images without a transform are scaled to [0, 1]; features are used unchanged.

    Args:
        spec: the files, the roles of their columns and the transform.
        folder: what relative paths are relative to.
        form: what a label is.

    Raises:
        InputError: the data cannot be used; the message names the file, column or row.
    """
    parts: list[Rows] = []
    for key, name in (("dataset.train", spec.train), ("dataset.test", spec.test)):
        require_local(key, name)
        path = folder / name
        if not os.path.exists(path):  # unlike Path's, it is False for a path that is too long or not allowed
            raise InputError(f"{path} does not exist: give {key} relative to the case file's folder {folder.resolve()}")
        parts.append(rows_at(path, spec, like=parts[0].features if parts else (), form=form))
    train, test = parts
    if train.features != test.features:
        raise InputError(_other_features(spec, train, test))
    if form is LabelForm.COMPLETION:
        return _completed(spec, folder, train, test)
    if form is LabelForm.NUMBER:
        if spec.classes:
            raise InputError(
                f"dataset.classes names {shown(spec.classes, 4)}, but the case's likelihood reads numbers: leave it out"
            )
        classes: Sequence[str] = ()
    else:
        classes = spec.classes or train.labels.class_names(form)
        _require_classes(tuple(classes))
    if form is LabelForm.TAGS and spec.tokenizer:
        return _tagged(spec, folder, train, test, tuple(classes))
    labels = train.labels.tensor(form, tuple(classes), "training"), test.labels.tensor(form, tuple(classes), "test")
    if form is LabelForm.TAGS:
        longest = max(labels[0].shape[1], labels[1].shape[1])
        pad = nn.functional.pad
        train_labels, test_labels = (pad(part, (0, longest - part.shape[1]), value=PADDING) for part in labels)
        labels = train_labels, test_labels
    return _dataset(train, test, tuple(classes), labels, transform_of(spec, folder, train), spec.id)


def _completed(spec: UserData, folder: Path, train: Rows, test: Rows) -> Dataset:
    """Prompts with completions. The prompt alone is the input by which rows are told apart."""
    assert spec.tokenizer is not None, "a case of completions has one"
    pairs = [
        [(prompt, str(value)) for prompt, value in zip(rows.inputs, rows.labels.values, strict=True)]
        for rows in (train, test)
    ]
    read = Completions(folder / spec.tokenizer, spec.max_length, [*pairs[0], *pairs[1]])
    labels = read.labels(pairs[0], "training"), read.labels(pairs[1], "test")
    return _dataset(train, test, read.vocabulary, labels, read, spec.id, raw=(pairs[0], pairs[1]))


def _tagged(spec: UserData, folder: Path, train: Rows, test: Rows, classes: tuple[str, ...]) -> Dataset:
    """Words with a class each, as the tokens of a tokenizer."""
    assert spec.tokenizer is not None, "it was given"
    raw = [[words_of(row) for row in rows.inputs] for rows in (train, test)]
    read = Words(folder / spec.tokenizer, spec.max_length, [*raw[0], *raw[1]])
    labels = [
        read.labels(words, rows.labels.tags(classes, where), where)
        for words, rows, where in zip(raw, (train, test), ("training", "test"), strict=True)
    ]
    return _dataset(train, test, classes, (labels[0], labels[1]), read, spec.id, raw=(raw[0], raw[1]))


def _other_features(spec: UserData, train: Rows, test: Rows) -> str:
    """Why two files differ in their features."""
    if not (train.features and test.features):
        images, table = (spec.train, spec.test) if test.features else (spec.test, spec.train)
        return f"{images} has images and {table} features: give both files the same columns"
    name = next(
        name for name in (*train.features, *test.features) if (name in train.features) != (name in test.features)
    )
    (has, _), (lacks, rows) = sorted(
        ((spec.train, train), (spec.test, test)), key=lambda part: name in part[1].features, reverse=True
    )
    if name not in rows.metadata.column_names:
        return f"{has} has the feature {name!r}, {lacks} no such column: set dataset.features to columns that both have"
    values = enumerate(rows.metadata[name].to_pylist())
    at, value = next(((at, value) for at, value in values if number_in(str(value)) == inf), (0, None))
    return (
        f"{name!r} is a number in {has} and not in {lacks} (row {at} has {value!r}): fix the column, or set "
        "dataset.features to columns of numbers"
    )


def read_torchvision(spec: TorchvisionData, data_dir: Path, folder: Path) -> Dataset:
    """Read a torchvision data set; ``position``, a row's index in its split, is metadata.

    Args:
        spec: the data set's class name and the transform.
        data_dir: the folder of torchvision's data sets.
        folder: searched for the transform's module.

    Raises:
        InputError: torchvision has no such data set, or it is not in ``data_dir``.
    """
    import torchvision  # imported here: it takes seconds, and most commands do not need it

    dataset_class = getattr(torchvision.datasets, spec.torchvision, None)
    if dataset_class is None:
        raise InputError(f"dataset.torchvision is {spec.torchvision!r}, but torchvision.datasets has no such class")
    try:
        splits = [dataset_class(str(data_dir), train=part) for part in (True, False)]
    except (RuntimeError, TypeError, OSError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{spec.torchvision} cannot be read from {data_dir} ({why}): set REPAIR_DATA_DIR") from error
    places = tuple(str(name) for name in getattr(splits[0], "classes", ())) or None
    train, test = (_torchvision_rows(split, places) for split in splits)
    transform = entry_point("dataset.transform", spec.transform, folder) if spec.transform else None
    classes = places or train.labels.sorted_names
    _require_classes(classes)
    labels = train.labels.numbers(classes, "training"), test.labels.numbers(classes, "test")
    return _dataset(train, test, classes, labels, transform)


def torchvision_folder(name: str, data_dir: Path) -> Path:
    """The folder of a torchvision data set: one of its name, or else its class's ``base_folder``."""
    named = data_dir / name
    if named.is_dir():
        return named
    import torchvision  # imported here: it takes seconds, and most commands do not need it

    dataset_class = getattr(torchvision.datasets, name, None)
    return data_dir / str(getattr(dataset_class, "base_folder", name))


def _torchvision_rows(split: Any, places: tuple[str, ...] | None) -> Rows:
    images, labels = zip(*split, strict=True)
    column = Labels([int(label) for label in labels], pa.int64(), places)
    return Rows(list(images), column, pa.table({"position": list(range(len(images)))}), ())


Transform = Callable[[Any], Any] | None


def transform_of(spec: UserData, folder: Path, train: Rows, key: str = "dataset.transform") -> Transform:
    """What prepares a row of user data: the tokenizer, or the owner's function; None if they name neither.

    Args:
        spec: names them.
        folder: what relative paths are relative to.
        train: the training rows, whose longest text decides the length of all.
        key: the key of the function, for messages.

    Raises:
        InputError: it cannot be read or imported.
    """
    if spec.tokenizer:
        texts: Sequence[str] = list(train.inputs)
        return Tokenizer(folder / spec.tokenizer, spec.max_length, texts)
    return entry_point(key, spec.transform, folder) if spec.transform else None


def _require_classes(classes: tuple[str, ...]) -> None:
    """Refuse a single class, or a name of two classes.

    Raises:
        InputError: says which.
    """
    if len(classes) < 2:
        raise InputError(f"the training rows have only one class ({classes[0]}): give two or more")
    if repeated := [name for name, count in Counter(classes).items() if count > 1]:
        raise InputError(f"two of the classes have the name {repeated[0]!r}: rename one, or set dataset.classes")


def _dataset(
    train: Rows,
    test: Rows,
    classes: tuple[str, ...],
    labels: tuple[Tensor, Tensor],
    transform: Transform,
    id_column: str | None = None,
    raw: tuple[Sequence[Any], Sequence[Any]] | None = None,
) -> Dataset:
    """The data set. ``raw``: what the transform reads of each row; None: its input."""
    digests = [[digest(content(row)) for row in rows.inputs] for rows in (train, test)]
    all_digests = [name for part in digests for name in part]
    ids = numbered(all_digests) if id_column is None else _column_ids(id_column, [*train.names, *test.names])
    inputs, scaling = _prepared(*(raw or (train.inputs, test.inputs)), transform)
    _require_alike(train, *inputs, transform)
    columns = joined(train.metadata, test.metadata)
    metadata = columns.add_column(0, "example_id", pa.array(ids.tolist())) if columns.num_columns else None
    count, train_digests = len(train.labels.values), set(digests[0])
    return Dataset(
        train=Examples(ids[:count], inputs[0], labels[0]),
        test=Examples(ids[count:], inputs[1], labels[1]),
        classes=classes,
        mean=torch.zeros(inputs[0].shape[1:2].numel()),
        metadata=metadata,
        features=train.features,
        remarks=(*train.remarks, *test.remarks, *scaling),
        also_in_training=frozenset(
            example_id
            for example_id, name in zip(ids[count:].tolist(), digests[1], strict=True)
            if name in train_digests
        ),
    )


def _require_alike(rows: Rows, train: Prepared, test: Prepared, transform: Transform) -> None:
    """Refuse training and test rows that were prepared to tensors of other names, shapes or types."""
    if train.form == test.form:
        return
    if rows.features and transform is None:
        raise InputError(
            f"{shown(rows.features)} give {train.form} numbers a training row and {test.form} a test row: give the "
            "vectors one length"
        )
    if train.form.kinds != test.form.kinds:
        raise InputError(
            f"dataset.transform returns {train.form.kinds} for training rows and {test.form.kinds} for test rows: "
            "return numbers of one type"
        )
    raise InputError(f"training rows are {train.form} and test rows {test.form}: set dataset.transform to resize them")


def content(row: Any) -> bytes:
    """The bytes of a raw input that its id is hashed from."""
    if isinstance(row, bytes):
        return row
    return row.tobytes() if isinstance(row, (np.ndarray, Image.Image)) else repr(row).encode()


def _column_ids(column: str, names: Sequence[str]) -> NDArray[np.str_]:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"dataset.id is {column!r}, but {name!r} occurs {count} times in it, train and test together: "
            "name a column with unique values, or leave it out to use the inputs' hashes"
        )
    return np.array(names, dtype=np.str_)


def _prepared(
    train: Sequence[Any] | np.ndarray, test: Sequence[Any] | np.ndarray, transform: Transform
) -> tuple[tuple[Prepared, Prepared], tuple[Remark, ...]]:
    """The inputs of both splits, scaled alike, and what was noticed in the images."""
    scales: tuple[Scale | None, Scale | None] = (None, None)
    if transform is None and not (isinstance(train, np.ndarray) or isinstance(test, np.ndarray)):
        first = Scale(train, "training")
        scales = (first, Scale(test, "test", first))
    inputs = Prepared(train, transform, "training", scales[0]), Prepared(test, transform, "test", scales[1])
    return inputs, tuple(remark for scale in scales if scale for remark in scale.remarks)
