"""The values that flow from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.errors import InputError
from repair_pipeline.named_tensors import Batch, NamedTensors, joined

Theta = Float[Tensor, " p"]
"""All adapted parameters of a model, flattened in the order of ``named_parameters()``."""

Role = Literal["repair", "control", "reference", "baseline"]
"""The purpose of a method or treatment: ``repair`` repairs the model; ``control`` is what a repair must beat;
``reference`` shows what knowing the planted rows achieves, and alone may read them; ``baseline`` is a comparison."""


class LabelForm(Enum):
    """What a label is. It is seen from a tensor of labels, too: see ``of``."""

    CLASS = "class"
    """One of several classes: its number, int64."""
    NUMBER = "number"
    """A number, float64."""
    SET = "set"
    """A set of classes: bool (n, k)."""
    COMPLETION = "completion"
    """At each place of a prompt with its completion the token that follows: int64 (n, t), or ``PADDING``."""
    TAGS = "tags"
    """At each place of a row the class of its token: int32 (n, t), or ``PADDING``."""

    @staticmethod
    def of(labels: Shaped[Tensor, "n *l"]) -> LabelForm:
        """The form of the labels in a tensor."""
        if labels.dim() == 2:
            return {torch.bool: LabelForm.SET, torch.int32: LabelForm.TAGS}.get(labels.dtype, LabelForm.COMPLETION)
        return LabelForm.NUMBER if labels.is_floating_point() else LabelForm.CLASS

    @property
    def corrects(self) -> bool:
        """Whether models can say what another label of a row is. If not, wrong rows can only be dropped."""
        return self not in (LabelForm.SET, LabelForm.COMPLETION)


PADDING = -100
"""Stands in a label of several tokens where there is none, as torch's losses ignore it by default."""


Progress = Callable[[int, int], None]
"""Called with (done, total) as a long step advances."""


def silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""


@runtime_checkable
class Inputs(Protocol):
    """n inputs of one shape, read on access: tensors, in memory or mapped from a file, or a decoder."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Int64[Tensor, " m"], /) -> Batch: ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples z = (x, y) with stable ids that survive every subset, shuffle and shard.

    Taking a subset reads no inputs: it only stores row numbers, so data larger than memory are read batch by batch.

    Raises:
        ValueError: the numbers of ids, inputs and labels differ.
    """

    ids: NDArray[np.str_]
    source: Inputs
    labels: Shaped[Tensor, "n *l"]
    """Class numbers, numbers, (n, k) sets of classes, or (n, t) tokens."""
    rows: Int64[Tensor, " n"] | None = None
    """Positions of these examples in ``source``; None: all of them, in order."""

    def __post_init__(self) -> None:
        inputs = len(self.source if self.rows is None else self.rows)
        if not len(self.ids) == inputs == len(self.labels):
            raise ValueError(f"{len(self.ids)} ids, {inputs} inputs and {len(self.labels)} labels")

    def __reduce__(self) -> tuple[type[Examples], tuple[object, ...]]:
        """Another process is sent these rows alone, not all of ``source``; they are read when they are sent."""
        return Examples, (self.ids, self.inputs, self.labels.clone())  # a slice would take its whole storage along

    @property
    def inputs(self) -> Batch:
        """All inputs, read again on every access."""
        if self.rows is None and isinstance(self.source, Tensor | NamedTensors):
            return self.source
        return self.source[self._rows]

    @property
    def tensor(self) -> Shaped[Tensor, "n *features"]:
        """All inputs, where an input is a single tensor.

        Raises:
            InputError: it consists of several.
        """
        inputs = self.inputs
        if isinstance(inputs, NamedTensors):
            raise InputError(f"this reads inputs of one tensor, but these have {', '.join(inputs.parts)}: leave it out")
        return inputs

    @cached_property
    def _rows(self) -> Int64[Tensor, " n"]:
        return torch.arange(len(self)) if self.rows is None else self.rows

    @property
    def shape(self) -> torch.Size:
        """The shape of one input; empty if it consists of several tensors."""
        return self.source.shape[1:]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def at_once(self) -> int:
        """How many rows a model reads at once. Few of texts, as it returns numbers for a vocabulary at each token."""
        return 32 if LabelForm.of(self.labels) is LabelForm.COMPLETION else 500

    def __getitem__(self, index: Tensor | slice) -> Examples:
        """The subset at ``index``: a slice, a boolean mask (n,) or integer positions."""
        at = index if isinstance(index, slice) else index.cpu()
        ids = self.ids[at if isinstance(at, slice) else at.numpy()]
        return Examples(ids, self.source, self.labels[index], self._rows[at])

    def batches(self, size: int) -> Iterator[Examples]:
        """Consecutive batches of ``size`` (the last may be smaller), in order."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def having(self, ids: frozenset[str]) -> Bool[Tensor, " n"]:
        """A mask of the examples whose id is in ``ids``."""
        return torch.from_numpy(np.isin(self.ids, np.array(sorted(ids), dtype=np.str_)))

    def without(self, ids: frozenset[str]) -> Examples:
        """The examples whose id is not in ``ids``: D∖C."""
        return self[~self.having(ids)]

    def to(self, device: torch.device) -> Examples:
        """The same examples on ``device``. Nothing is read or copied if they are already there."""
        if self.labels.device == device:
            return self
        return Examples(self.ids, self.inputs.to(device), self.labels.to(device))

    def in_memory(self) -> Examples:
        """The same examples with their inputs read into memory, for repeated or random access."""
        return Examples(self.ids, self.inputs, self.labels)

    @staticmethod
    def concat(parts: list[Examples]) -> Examples:
        """All of ``parts``, one after the other. Inputs are read only if the parts have different sources."""
        ids, labels = np.concatenate([part.ids for part in parts]), torch.cat([part.labels for part in parts])
        source = parts[0].source
        if all(part.source is source for part in parts):
            return Examples(ids, source, labels, torch.cat([part._rows for part in parts]))
        return Examples(ids, joined([part.inputs for part in parts]), labels)


@dataclass(frozen=True)
class Remark:
    """What was noticed in a user's data as they were read."""

    says: str
    fine: bool = True
    """False: it may not be intended."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as loaded, before splitting and corruption."""

    train: Examples
    test: Examples
    classes: tuple[str, ...]
    """Class names or tokens, in the order of the model's outputs; empty if labels are numbers."""
    mean: Float[Tensor, " channels"]
    """Subtracted from every input (App. C); added back to display one."""
    metadata: pa.Table | None = None
    """Further columns: one row for every train and test example, ``example_id`` first, then the user's columns."""
    also_in_training: frozenset[str] = frozenset()
    """Ids of the test rows whose input also occurs in the training rows: they are no evidence of generalisation."""
    features: tuple[str, ...] = ()
    """Names of the feature columns, in the order of a row's inputs; empty for images."""
    remarks: tuple[Remark, ...] = ()
    """What was noticed as the data were read."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training examples with their ground truth, which only a method of the role ``reference`` may read."""

    examples: Examples
    clean_labels: Shaped[Tensor, "n *l"]
    corrupted: Bool[Tensor, " n"]
    """Intervened upon, whether or not the label changed."""

    @property
    def corrupted_ids(self) -> frozenset[str]:
        return frozenset(self.examples.ids[self.corrupted.cpu().numpy()].tolist())


@dataclass(frozen=True, eq=False)
class CorruptedDataset:
    """What a base model is trained on (fit, validation) and tested on (test)."""

    fit: TrainingRows
    """D: N rows. Only these are scored, removed, counted as planted and used for the Fisher."""
    validation: TrainingRows
    """Rows for early stopping, as noisy as the rest."""
    test: Examples
    classes: tuple[str, ...]
    mean: Float[Tensor, " channels"]
    metadata: pa.Table | None = None
    """As in ``Dataset``, for the rows that are left."""
    also_in_training: frozenset[str] = frozenset()
    features: tuple[str, ...] = ()


class FailureGroup(str):
    """The name of a group of failures that are repaired together: a predicate's name, or ``all``."""

    @property
    def is_all(self) -> bool:
        """Whether the case has no named groups."""
        return self == ALL_FAILURES

    def phrase(self, template: str) -> str:
        """``template`` with the group's name in place of ``{}``; empty if the case has no named groups."""
        return "" if self.is_all else template.format(self)


ALL_FAILURES = FailureGroup("all")
"""The group of a case without named groups: all its failures."""


@dataclass(frozen=True, eq=False)
class TestPartition:
    """The test set, split by whether the base model is right and by what each part may be used for."""

    __test__ = False

    query: Examples
    """F_q: failures whose causes are searched for."""
    query_tuning: Examples
    """A tenth of the query side, for early stopping and model selection."""
    holdout: Examples
    """F_h: half of all failures, read once, by the evaluation."""
    guard: Examples
    """A class-stratified half of the correctly classified rows: benchmark cases B of A.1."""
    remaining: Examples
    """The other half of the correctly classified rows, which a repair must not break."""
    unused_query: Examples
    """Query-side failures not used because of ``query_fraction``."""
    other_failures: Examples
    """Failures outside this group."""

    @property
    def query_side(self) -> QuerySide:
        """The parts that influence methods and treatments may read."""
        failures, right = self.failures + len(self.other_failures), len(self.guard) + len(self.remaining)
        return QuerySide(self.query, self.query_tuning, self.guard, failures / (failures + right))

    @property
    def failure_share(self) -> float:
        """The base model's error rate on the rows of this partition, ``other_failures`` excluded: the natural mix."""
        return self.failures / (self.failures + len(self.guard) + len(self.remaining))

    @property
    def failures(self) -> int:
        """Number of failures, ``other_failures`` excluded."""
        return sum(map(len, (self.query, self.query_tuning, self.unused_query, self.holdout)))

    def without(self, ids: frozenset[str]) -> TestPartition:
        """The partition of the test rows whose id is not in ``ids``."""
        return TestPartition(**{name: part.without(ids) for name, part in self.parts().items()})

    def parts(self) -> dict[str, Examples]:
        """The parts by name, in the order of the fields."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, eq=False)
class QuerySide:
    """The test rows that may be read before the verdict; by construction without the holdout."""

    query: Examples
    query_tuning: Examples
    guard: Examples
    """In random order: its first rows are a fair sample, the same for every method that takes equally many."""
    error_rate: float | None = None
    """The base model's error rate on all test rows; None: unknown, as where rows are given without their test set."""

    @property
    def failure_share(self) -> float:
        """The error rate, or if it is unknown the share of failures among these rows."""
        failures = len(self.query) + len(self.query_tuning)
        return failures / (failures + len(self.guard)) if self.error_rate is None else self.error_rate


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of rows, of classes p(y|x), by models that were not trained on them."""

    fit: Float64[Tensor, "n *k"]
    """Of the rows of D."""
    clean: Float64[Tensor, "m *k"]
    """Of clean rows: query failures, followed by guard rows."""
    clean_labels: Shaped[Tensor, "m *l"]
    failures: int
    """How many of the clean rows are query failures."""


@dataclass(frozen=True, eq=False)
class InfluenceScores:
    """r̃(z) for every z of D (Eq. 7). r̃ > 0: z opposes the correction of the failures, so it is harmful.

    Raises:
        FloatingPointError: a score is not finite.
    """

    ids: NDArray[np.str_]
    values: Float64[Tensor, " n"]
    unit: str = "nats"
    notes: Mapping[str, float] = field(default_factory=dict)
    """Numbers stored in the table's metadata: sizes, weights, residuals."""
    neutral: float | None = 0.0
    """The threshold above which a row counts as harmful (Algorithm 1): 0 for a difference; log 2 for −log p, above
    which the given label is less likely than not. None: the scores have no such threshold."""
    probability: Float64[Tensor, " n"] | None = None
    """P(harmful) of each row, calibrated on rows known to be clean; None if the scores are not calibrated."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.values).all()):
            bad = self.ids[~torch.isfinite(self.values).numpy()]
            raise FloatingPointError(f"{len(bad)} influence scores are not finite (the first: {bad[0]})")

    @property
    def order(self) -> NDArray[np.int64]:
        """Positions from most to least harmful; ties are broken by example id."""
        return np.lexsort((self.ids, -self.values.numpy()))

    def top(self, count: int) -> Causes:
        """The ``count`` most harmful examples."""
        return Causes(tuple(self.ids[self.order[:count]].tolist()))


@dataclass(frozen=True)
class Causes:
    """C ⊂ D: the training examples to erase, most harmful first."""

    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def as_set(self) -> frozenset[str]:
        return frozenset(self.ids)
