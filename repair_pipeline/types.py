"""The values that flow from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

Theta = Float[Tensor, " p"]
"""All adapted parameters of a model, flattened in the order of ``named_parameters()``."""

Role = Literal["repair", "control", "reference", "baseline"]
"""What a method or treatment is there for: to repair; to be beaten by one that does; to show what reading the truth
gives; to be compared with. The truth is within reach of a reference only."""

Progress = Callable[[int, int], None]
"""Called with (done, total) as a long step advances."""


def silent(done: int, total: int) -> None:
    """The progress callback of whoever does not watch."""


@runtime_checkable
class Inputs(Protocol):
    """n inputs of one shape, read when they are asked for: a tensor, in memory or mapped from a file, or a decoder."""

    @property
    def shape(self) -> torch.Size: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Int64[Tensor, " m"], /) -> Float[Tensor, "m *features"]: ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples z = (x, y) with the stable ids that survive every subset, shuffle and shard.

    A subset reads no input: it knows its rows of ``source``, so that data larger than memory are read batch by batch.
    """

    ids: NDArray[np.str_]
    source: Inputs
    labels: Int64[Tensor, " n"]
    rows: Int64[Tensor, " n"] | None = None
    """Which of ``source`` these are; None: all, in order."""

    def __post_init__(self) -> None:
        inputs = len(self.source if self.rows is None else self.rows)
        if not len(self.ids) == inputs == len(self.labels):
            raise ValueError(f"{len(self.ids)} ids, {inputs} inputs and {len(self.labels)} labels")

    @property
    def inputs(self) -> Float[Tensor, "n *features"]:
        """The inputs of all of them, read at every call."""
        if self.rows is None and isinstance(self.source, Tensor):
            return self.source
        return self.source[self._rows]

    @cached_property
    def _rows(self) -> Int64[Tensor, " n"]:
        return torch.arange(len(self)) if self.rows is None else self.rows

    @property
    def shape(self) -> torch.Size:
        """Of one input."""
        return self.source.shape[1:]

    def __len__(self) -> int:
        return len(self.ids)

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
        """Mask of the examples whose id is in ``ids``."""
        return torch.from_numpy(np.isin(self.ids, np.array(sorted(ids), dtype=np.str_)))

    def without(self, ids: frozenset[str]) -> Examples:
        """The examples whose id is not in ``ids``: D∖C."""
        return self[~self.having(ids)]

    def to(self, device: torch.device) -> Examples:
        """The same examples on ``device``: themselves, unread, where they are there already."""
        if self.labels.device == device:
            return self
        return Examples(self.ids, self.inputs.to(device), self.labels.to(device))

    def in_memory(self) -> Examples:
        """The same examples with their inputs read, for whoever asks for them again and again or in random order."""
        return Examples(self.ids, self.inputs, self.labels)

    @staticmethod
    def concat(parts: list[Examples]) -> Examples:
        """All of ``parts``, one after the other. Their inputs are read only where they are of several sources."""
        ids, labels = np.concatenate([part.ids for part in parts]), torch.cat([part.labels for part in parts])
        source = parts[0].source
        if all(part.source is source for part in parts):
            return Examples(ids, source, labels, torch.cat([part._rows for part in parts]))
        return Examples(ids, torch.cat([part.inputs for part in parts]), labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as it was found: before splitting and corruption."""

    train: Examples
    test: Examples
    classes: tuple[str, ...]
    mean: Float[Tensor, " channels"]
    """Subtracted from every input (App. C); added back to draw one."""
    metadata: pa.Table | None = None
    """What else is known: a row for every train and test example, ``example_id`` first, then the owner's columns."""
    also_in_training: frozenset[str] = frozenset()
    """Ids of the test rows whose input is a training row's too: what is right on them proves nothing."""
    features: tuple[str, ...] = ()
    """The columns that a row's inputs are, in their order; none for images."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training examples beside the truth about them, which no method but the oracle may read."""

    examples: Examples
    clean_labels: Int64[Tensor, " n"]
    corrupted: Bool[Tensor, " n"]
    """Intervened upon, whether or not the label changed."""

    @property
    def corrupted_ids(self) -> frozenset[str]:
        return frozenset(self.examples.ids[self.corrupted.cpu().numpy()].tolist())


@dataclass(frozen=True, eq=False)
class CorruptedDataset:
    """What a base model is trained on (fit, validation) and tested on (test)."""

    fit: TrainingRows
    """D: N rows; only these are scored, removed, counted as planted, and in the Fisher."""
    validation: TrainingRows
    """As noisy as the rest; early stopping reads it."""
    test: Examples
    classes: tuple[str, ...]
    mean: Float[Tensor, " channels"]
    metadata: pa.Table | None = None
    """As found, for the rows that are left."""
    also_in_training: frozenset[str] = frozenset()
    features: tuple[str, ...] = ()


class FailureGroup(str):
    """The name of failures that are repaired together, as tables hold it: a predicate's, or ``all`` of a case's."""

    @property
    def is_all(self) -> bool:
        """Whether the case names no groups."""
        return self == ALL_FAILURES

    def phrase(self, words: str) -> str:
        """``words`` with the group's name for ``{}``; nothing where the case names no groups."""
        return "" if self.is_all else words.format(self)


ALL_FAILURES = FailureGroup("all")
"""The failures of a case that names no groups."""


@dataclass(frozen=True, eq=False)
class TestPartition:
    """The test set, split by what the base model gets wrong and what each part may be read for."""

    __test__ = False

    query: Examples
    """Failures that causes are searched for: F_q."""
    query_tuning: Examples
    """A tenth of the query side, for stopping and choosing."""
    holdout: Examples
    """Half of all failures, F_h: read once, by the evaluation."""
    guard: Examples
    """A class-stratified half of the correctly classified cases: benchmark cases B of A.1."""
    remaining: Examples
    """The other half: what a repair must not break."""
    unused_query: Examples
    """Query-side failures left aside by ``query_fraction``."""
    other_failures: Examples
    """Failures of classes that the case is not about."""

    @property
    def query_side(self) -> QuerySide:
        """All of the partition that finding causes and treating may read."""
        return QuerySide(self.query, self.query_tuning, self.guard)

    @property
    def failure_share(self) -> float:
        """The natural mix: of the test rows that the partition is about, the share that the base model gets wrong."""
        failures = sum(map(len, (self.query, self.query_tuning, self.unused_query, self.holdout)))
        return failures / (failures + len(self.guard) + len(self.remaining))

    def parts(self) -> dict[str, Examples]:
        """The parts by name, in the order of declaration."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, eq=False)
class QuerySide:
    """The test rows that may be read before the verdict. The holdout is not among them, by construction."""

    query: Examples
    query_tuning: Examples
    guard: Examples
    """In random order, so that its first rows are a fair sample, and the same for every method that takes as many."""


@dataclass(frozen=True, eq=False)
class InfluenceScores:
    """r̃(z) for every z of D, in nats unless said. r̃ > 0: z opposes the failures' correction, it is harmful (Eq. 7)."""

    ids: NDArray[np.str_]
    values: Float64[Tensor, " n"]
    unit: str = "nats"
    notes: Mapping[str, float] = field(default_factory=dict)
    """Numbers that stand beside the table: sizes, weights, residuals."""
    neutral: float | None = 0.0
    """Above it a row counts as harmful (Algorithm 1): 0 for a difference, log 2 for −log p, where the given label is
    less likely than not. None where no value tells the harmful from the others."""
    null: Float64[Tensor, " m"] | None = None
    """Values of cases that the model gets right and has not learnt: what chance gives."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.values).all()):
            bad = self.ids[~torch.isfinite(self.values).numpy()]
            raise FloatingPointError(f"{len(bad)} influence scores are not finite, {bad[0]} the first")

    @property
    def order(self) -> NDArray[np.int64]:
        """Positions from most to least harmful; ties broken by example id."""
        return np.lexsort((self.ids, -self.values.numpy()))

    def top(self, count: int) -> Causes:
        """The ``count`` most harmful."""
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
