"""Reads rows from tensors, a torch data set, a loader or a file into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torch.utils.data import Dataset as TorchDataset

from repair_pipeline.datasets.ids import digest, input_digests, numbered
from repair_pipeline.datasets.prepared import Prepared, Scale
from repair_pipeline.datasets.user_data import Transform, UserData, content, transform_of
from repair_pipeline.datasets.user_tables import rows_at
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.library.settings import configured
from repair_pipeline.named_tensors import Batch, NamedTensors, joined
from repair_pipeline.types import PADDING, Examples, LabelForm

Source = Any
"""``(x, y)`` or ``(x, y, ids)``, a torch data set or loader of these, or the path of a table or a folder of images.

x is an array, or a mapping of arrays by the names of the model's arguments."""
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one argument, such as ``train`` or ``failures``."""

    inputs: Batch
    labels: Tensor
    hashes: list[str]
    """Hashes of the raw inputs, from which ids are made."""
    ids: list[str] | None
    """The ids that were given; None if none were."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digests(self) -> list[str]:
        """Hashes of the inputs as the model reads them. They do not depend on the kind of source."""
        inputs = self.inputs
        return input_digests(
            inputs.float() if isinstance(inputs, Tensor) and not inputs.is_floating_point() else inputs
        )


class Reader:
    """Reads every part of a problem in the same way. Read the training rows first: they define the classes.

    Args:
        columns: columns of files, by the keys of a case's data: label, features, image, id, metadata, transform.
        classes: class names in the order of the model's outputs; None: those of the first file.
        dtype: dtype of the model's parameters, to which inputs of floating point are converted.
        seed: for a data set that draws at random while it is read.
        form: what a label is.

    Raises:
        InputError: classes are given for labels that are none.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        classes: Sequence[str] | None,
        dtype: torch.dtype,
        seed: int,
        form: LabelForm = LabelForm.CLASS,
    ) -> None:
        if classes and form in (LabelForm.NUMBER, LabelForm.COMPLETION):
            what = "numbers" if form is LabelForm.NUMBER else "tokens"
            raise InputError(f"classes are given, but the likelihood reads {what}: leave classes out")
        self._form, names = form, tuple(classes) if classes else None
        self._columns = configured("columns", partial(UserData, train="", test="", classes=names), columns)
        self.classes = self._columns.classes
        self._dtype, self._seed = dtype, seed
        self._scale: Scale | None = None
        self._transform: Transform = None
        self._features: tuple[str, ...] | None = None

    def __call__(self, where: str, source: Source) -> Part:
        """The rows of ``source``.

        Args:
            where: name of the part, for messages.
            source: the rows.

        Raises:
            InputError: the rows cannot be used.
        """
        if isinstance(source, str | Path):
            return self._file(where, Path(source))
        if isinstance(source, tuple):
            return self._tensors(where, source)
        if isinstance(source, DataLoader | TorchDataset):
            return self._tensors(where, self._loaded(where, source))
        raise InputError(
            f"{where} is {type(source).__name__}: give (x, y), a torch Dataset, a DataLoader, or the path of a file"
        )

    def _file(self, where: str, path: Path) -> Part:
        if not path.exists():
            raise InputError(
                f"{where} is {str(path)!r}, which does not exist: give an absolute path or one relative to {Path.cwd()}"
            )
        if self._form in (LabelForm.COMPLETION, LabelForm.TAGS):
            raise InputError(
                f"{where} is a file, but labels of tokens are given as tensors: give (x, y), or write a case file"
            )
        rows = rows_at(path, self._columns, like=self._features or (), form=self._form)
        self._features = rows.features if self._features is None else self._features
        if rows.features != self._features:
            raise InputError(
                f"{path} has the features {', '.join(rows.features)}, but the files before it have "
                f"{', '.join(self._features)}: name features that all have, with columns={{'features': [...]}}"
            )
        if self._form is not LabelForm.NUMBER:
            self.classes = self.classes or rows.labels.class_names(self._form)
        if self._transform is None:
            self._transform = transform_of(self._columns, Path.cwd(), rows, "columns.transform")
        scale = None
        if self._transform is None and not isinstance(rows.inputs, np.ndarray):
            self._scale = scale = Scale(rows.inputs, where, self._scale)
        inputs = Prepared(rows.inputs, self._transform, where, scale)[torch.arange(len(rows.labels.values))]
        hashes = [digest(content(row)) for row in rows.inputs]
        labels = rows.labels.tensor(self._form, self.classes or (), where)
        return Part(self._converted(inputs), labels, hashes, list(rows.names) or None)

    def _loaded(self, where: str, source: Any) -> tuple[Any, ...]:
        """All rows of a data set or loader. A loader that shuffles is read in the order of its data set."""
        batches: Any = source
        if not isinstance(source, DataLoader):
            batches = DataLoader(source, _BATCH)
        elif source.batch_size is not None and type(source.sampler) in (RandomSampler, SequentialSampler):
            batches = DataLoader(source.dataset, source.batch_size, collate_fn=source.collate_fn)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            batches_read = [_values(batch) for batch in batches]
        if not batches_read:
            raise InputError(f"{where} has no rows: give at least one")
        if len(batches_read[0]) not in (2, 3):
            raise InputError(f"{where} yields {len(batches_read[0])} values per row: yield (x, y), or (x, y, id)")
        columns = list(zip(*batches_read, strict=True))
        try:
            read = tuple(joined([_batch(batch) for batch in column]) for column in columns[:2])
        except (TypeError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(
                f"{where} yields values that are not tensors of one shape ({one_line(error)}): convert them first"
            ) from error
        ids = [name for batch in columns[2] for name in _texts(batch)] if len(columns) == 3 else None
        return read if ids is None else (*read, ids)

    def _tensors(self, where: str, given: tuple[Any, ...]) -> Part:
        if len(given) not in (2, 3):
            raise InputError(f"{where} is a tuple of length {len(given)}: give (x, y), or (x, y, ids)")
        try:
            inputs, labels = map(_batch, given[:2])
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{where} cannot be made into tensors ({one_line(error)}): give arrays of numbers"
            ) from error
        ids = _texts(given[2]) if len(given) == 3 else None
        assert isinstance(labels, Tensor)
        if self._form is LabelForm.NUMBER and labels.dim() == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        vectors = isinstance(inputs, Tensor) and inputs.dim() == 2
        if (
            (isinstance(inputs, Tensor) and inputs.dim() < 2)
            or labels.dim() != (1 if self._form in (LabelForm.CLASS, LabelForm.NUMBER) else 2)
            or {len(labels), len(labels if ids is None else ids)} != {len(inputs)}
        ):
            and_ids = "" if ids is None else f" and {len(ids)} ids"
            raise InputError(
                f"{where} has inputs of shape {tuple(inputs.shape)}, labels of shape {tuple(labels.shape)}{and_ids}: "
                f"give (n, ...) inputs and {_SHAPES.get(self._form, 'n labels')}"
            )
        if self._form is LabelForm.NUMBER:
            labels = _numbers(where, labels)
        elif self._form is LabelForm.SET:
            labels = _sets(where, labels)
        elif labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise InputError(
                f"{where} has labels of dtype {labels.dtype}: give integer class numbers, such as labels.long()"
            )
        # Hash vectors as files of features are hashed: their numbers are read as float64.
        raw = inputs.to(torch.float64) if vectors else inputs
        if self._form in (LabelForm.COMPLETION, LabelForm.TAGS):
            labels = _tokens(where, labels, self._form)
        labels = labels.long() if self._form is LabelForm.CLASS else labels
        return Part(self._converted(inputs), labels, input_digests(raw), ids)

    def _converted(self, inputs: Batch) -> Batch:
        floats = isinstance(inputs, NamedTensors) or inputs.is_floating_point()
        return inputs.to(self._dtype) if floats else inputs


def _values(batch: Any) -> tuple[Any, ...]:
    """The inputs, labels and ids of a batch; a mapping holds its labels as ``labels`` or ``label``."""
    if isinstance(batch, Mapping):
        key = next((key for key in ("labels", "label") if key in batch), None)
        rest = {name: part for name, part in batch.items() if name != key}
        return (rest, batch[key]) if key else (rest,)
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _batch(value: Any) -> Batch:
    """Numbers as a tensor, or a mapping of them as named tensors; on the CPU."""
    if isinstance(value, NamedTensors):
        return value.cpu()
    if isinstance(value, Mapping):
        return NamedTensors({str(name): _tensor(part) for name, part in value.items()})
    return _tensor(value)


def _tensor(value: Any) -> Tensor:
    return value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))


def examples_of(parts: Mapping[str, Part]) -> dict[str, Examples]:
    """The parts as examples. Rows without a given id get one from the hash of the input and its occurrence.

    Raises:
        InputError: an id occurs more than once.
    """
    hashed = numbered(name for part in parts.values() for name in part.hashes)
    examples, start = {}, 0
    for where, part in parts.items():
        ids: NDArray[np.str_] = np.array(part.ids, dtype=np.str_) if part.ids else hashed[start : start + len(part)]
        examples[where], start = Examples(ids, part.inputs, part.labels), start + len(part)
    counts = Counter(name for rows in examples.values() for name in rows.ids.tolist())
    name, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise InputError(f"the id {name!r} is given {count} times: give every row a unique id, or give no ids")
    return examples


def _numbers(where: str, labels: Tensor) -> Tensor:
    """The labels of a regression, float64.

    Raises:
        InputError: one is no finite number.
    """
    if labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"{where} has labels of dtype {labels.dtype}, but the likelihood reads numbers: give floats")
    labels = labels.double()
    if bad := int((~labels.isfinite()).sum()):
        raise InputError(f"{where} has {bad} labels that are not finite: fix or drop these rows")
    return labels


_SHAPES = {
    LabelForm.SET: "labels (n, k), whether each class is in a row's set",
    LabelForm.COMPLETION: f"labels (n, t), the token that follows each, or {PADDING}",
    LabelForm.TAGS: f"labels (n, t), the class of each token, or {PADDING}",
}


def _sets(where: str, labels: Tensor) -> Tensor:
    """Truth values, which may be given as 0 and 1."""
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError(f"{where} has labels other than 0 and 1: give {_SHAPES[LabelForm.SET]}")
    return labels.bool()


def _tokens(where: str, labels: Tensor, form: LabelForm) -> Tensor:
    """Labels of tokens, in the type by which their form is known.

    Raises:
        InputError: a row has none, or a number that is no label.
    """
    if bad := int(((labels < 0) & (labels != PADDING)).sum()):
        raise InputError(f"{where} has {bad} labels below 0 that are not {PADDING}: give {_SHAPES[form]}")
    if bare := torch.nonzero((labels == PADDING).all(dim=1)).flatten().tolist():
        raise InputError(f"{where} has no label for any token of row {bare[0]}: give one, or drop the row")
    return labels.int() if form is LabelForm.TAGS else labels.long()


def _texts(ids: Any) -> list[str]:
    return [str(name) for name in (ids.tolist() if hasattr(ids, "tolist") else ids)]
