"""The rows that are reviewed, and what is shown beside each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from repair_pipeline.reporting.contents import text_column
from repair_pipeline.reporting.gallery import are_images
from repair_pipeline.storage.records import OWN
from repair_pipeline.types import CorruptedDataset, Examples

COLUMNS = pa.schema(
    [
        ("example_id", pa.string()),
        ("row", pa.int64()),  # its position in D
        ("failure_group", pa.string()),
        ("action", pa.string()),  # what the patch suggests; null if it does not have the row
        ("rank", pa.int64()),
        ("influence", pa.float64()),
        ("probability", pa.float64()),
        ("label", pa.string()),
        ("suggested_label", pa.string()),
        ("suggestion_probability", pa.float64()),
        ("reason", pa.string()),
        ("opposes", pa.int64()),  # number of failures
    ]
)
"""The columns of a sheet, before the owner's."""
_TYPICAL = 200
"""Rows of a class that its usual values are taken from."""
_UNUSUAL = 12
"""Features that are shown of a row."""

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Usual:
    """The usual values of a class: medians and quartiles of its features, or its mean image."""

    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sheet:
    """The rows of D with their scores, the most harmful first, and what they are shown with."""

    case_id: str
    rows: pa.Table
    """``COLUMNS``, followed by the owner's columns, prefixed by ``OWN``."""
    data: CorruptedDataset
    failures: Examples
    """The query failures. Held-out failures are never shown."""
    opposed: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """By example id, positions of the failures that the row opposes, most opposed first, and its influence on them."""
    repeated: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By example id, (id, label) of the test rows on the query side that nearly repeat the row."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def position(self) -> dict[str, int]:
        """The position of a row in the sheet, by its example id."""
        return {example_id: at for at, example_id in enumerate(self.rows["example_id"].to_pylist())}

    @cached_property
    def probability(self) -> NDArray[np.float64] | None:
        """P(harmful) of each row, or None where it is not known of all."""
        column = self.rows["probability"]
        return None if column.null_count else column.to_numpy()

    @cached_property
    def in_patch(self) -> NDArray[np.bool_]:
        """Whether the patch has the row."""
        return pc.is_valid(self.rows["action"]).to_numpy()

    @property
    def own_columns(self) -> list[str]:
        """The owner's columns."""
        return [name.removeprefix(OWN) for name in self.rows.column_names if name.startswith(OWN)]

    @cached_property
    def text_column(self) -> str | None:
        """The owner's column of texts, if she has one."""
        return text_column(self.rows, self.own_columns, OWN)

    @cached_property
    def has_images(self) -> bool:
        return are_images(self.data.test)

    @cached_property
    def usual(self) -> list[Usual | None]:
        """The usual values of each class, of its first rows in D; None for a class without rows."""
        fit, found = self.data.fit.examples, list[Usual | None]()
        for label in range(len(self.data.classes)):
            rows = fit[(fit.labels == label).nonzero().flatten()[:_TYPICAL]]
            if not len(rows):
                found.append(None)
                continue
            values = rows.tensor.double().numpy()
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            found.append(Usual(low, middle, high, values.mean(axis=0)))
        return found

    def shown(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """What the page shows of rows, as JSON values."""
        found = []
        for row in self.rows.take(positions).to_pylist():
            own = {name.removeprefix(OWN): value for name, value in row.items() if name.startswith(OWN)}
            known = {name: value for name, value in row.items() if not name.startswith(OWN)}
            example_id = row["example_id"]
            found.append(
                {
                    **known,
                    "at": self.position[example_id],
                    "text": None if self.text_column is None else own[self.text_column],
                    "own": {name: _plain(value) for name, value in own.items() if name != self.text_column},
                    "features": self._features(row),
                    "failures": [
                        {**self._failure(failure), "influence": influence}
                        for failure, influence in self.opposed.get(example_id, ())
                    ],
                    "repeated": [{"id": name, "label": label} for name, label in self.repeated.get(example_id, ())],
                }
            )
        return found

    def _failure(self, at: int) -> dict[str, Any]:
        example_id, label = str(self.failures.ids[at]), self.data.classes[self.failures.labels[at]]
        return {"at": at, "id": example_id, "label": label, "text": self._text_of_test.get(example_id)}

    @cached_property
    def _text_of_test(self) -> dict[str, str]:
        if self.text_column is None or self.data.metadata is None:
            return {}
        shown = set(self.failures.ids.tolist())
        columns = (self.data.metadata[name].to_pylist() for name in ("example_id", self.text_column))
        return {example_id: text for example_id, text in zip(*columns, strict=True) if example_id in shown}

    def _features(self, row: Row) -> list[dict[str, Any]]:
        """The features that are least usual for the given class, least usual first."""
        names, classes = self.data.features, self.data.classes
        if not names or len(self.data.test.shape) != 1:
            return []
        values = self.data.fit.examples[row["row"] : row["row"] + 1].tensor[0].double().numpy()
        given = self.usual[classes.index(row["label"])]
        other = self.usual[classes.index(row["suggested_label"])] if row["suggested_label"] is not None else None
        assert given is not None, "the row itself has the label"
        apart = np.abs(values - given.middle) / np.maximum(given.high - given.low, 1e-12)
        return [
            {
                "name": names[at],
                "value": values[at].item(),
                "usual": [given.low[at].item(), given.middle[at].item(), given.high[at].item()],
                "suggested": None if other is None else other.middle[at].item(),
            }
            for at in np.argsort(-apart, kind="stable")[:_UNUSUAL]
        ]


def _plain(value: object) -> str:
    return "" if value is None else str(value)
