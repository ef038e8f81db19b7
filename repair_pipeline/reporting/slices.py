"""What some rows have in common: slices of the data, as predicates of SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool
from numpy.typing import NDArray
from scipy.stats import hypergeom
from sklearn.tree import DecisionTreeClassifier

from repair_pipeline.datasets.labels import column_of
from repair_pipeline.storage.sql_names import quoted
from repair_pipeline.types import CorruptedDataset, Examples, TestPartition

_FEWEST = 20
"""Marked rows, below which nothing is searched."""
_DEPTH = 3
"""Most conditions of a slice."""
_VALUES = 20
"""Most values of a column of text that are compared with."""
_RICHER = 1.5
"""How much larger the share of marked rows must be in a slice than overall."""
LEVEL = 0.05
"""The probability of any false slice."""


@dataclass(frozen=True)
class Slice:
    """Rows for which a predicate holds, with more marked rows among them than chance explains."""

    predicate: str
    """In DuckDB's SQL, as ``failures.where`` takes it."""
    marked: int
    """Marked rows for which it holds."""
    rows: int
    """All rows for which it holds."""
    p: float
    """The probability of as many marked rows by chance, corrected for the number of slices that were tried (Holm), on
    the half of the rows that the slice was not found with."""

    @property
    def share(self) -> float:
        """The share of its rows that are marked."""
        return self.marked / self.rows


@dataclass(frozen=True)
class _Condition:
    """A condition on a column: a value that it has or has not, or a bound."""

    column: str
    values: NDArray[np.float64]
    """1 where the column has the value ``shown``, else 0; or its numbers."""
    shown: str | None

    def sql(self, above: bool, threshold: float) -> str:
        """The condition that the values are above, or not above, the threshold."""
        name = quoted(self.column)
        if self.shown is not None:
            return f"{name} = {self.shown}" if above else f"{name} IS DISTINCT FROM {self.shown}"
        nearest = self.values[self.values <= threshold].max()  # a value of the data, which needs no rounding
        return f"{name} {'>' if above else '<='} {nearest:.17g}"


def about(data: CorruptedDataset, rows: Examples) -> pa.Table:
    """The labels, by name or as numbers, and the owner's columns of some rows."""
    table = pa.table({"label": column_of(rows.labels, data.classes)})
    if data.metadata is not None:
        at = {name: row for row, name in enumerate(data.metadata["example_id"].to_pylist())}
        own = data.metadata.take([at[name] for name in rows.ids.tolist()])
        for name in own.column_names[1:]:
            table = table.append_column(name, own[name])
    return table


def query_side(tests: TestPartition) -> tuple[Examples, Bool[np.ndarray, " n"]]:
    """The test rows that may be read before the verdict, and which of them are failures."""
    side = tests.query_side
    failures = Examples.concat([side.query, side.query_tuning])
    rows = Examples.concat([failures, side.guard])
    return rows, np.arange(len(rows)) < len(failures)


def slices(table: pa.Table, marked: Bool[np.ndarray, " n"]) -> list[Slice]:
    """Slices in which marked rows are frequent, the surest first.

    A decision tree of at most three conditions is fitted to a random half of the rows; its nodes are tried on the other
    half, by Fisher's exact test with Holm's correction.

    Args:
        table: columns of numbers, truth values or text, one row for each row of the data.
        marked: the rows to find slices of, such as failures.
    """
    conditions = list(_conditions(table))
    if not conditions or marked.sum() < _FEWEST or marked.all():
        return []
    values = np.stack([condition.values for condition in conditions], axis=1)
    order = np.random.default_rng(0).permutation(len(marked))
    found_with, tried_on = order[::2], order[1::2]
    fewest = max(5, int(marked.sum()) // 20)
    tree = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=fewest, random_state=0)
    tree.fit(values[found_with], marked[found_with])
    share = marked[found_with].mean()
    candidates = []
    for path, members in _nodes(tree.tree_, values):
        within = marked[found_with[members[found_with]]]
        if len(within) and within.mean() >= _RICHER * share and within.sum() >= fewest:
            tried = marked[tried_on[members[tried_on]]]
            by_chance = hypergeom.sf(tried.sum() - 1, len(tried_on), marked[tried_on].sum(), len(tried))
            candidates.append((float(by_chance), path, members))
    candidates.sort(key=lambda candidate: candidate[0])
    shown, largest = list[tuple[Slice, NDArray[np.bool_]]](), 0.0
    for place, (p, path, members) in enumerate(candidates):
        largest = max(largest, min(1.0, p * (len(candidates) - place)))
        if largest > LEVEL:
            break
        if not any((members & other).any() for _, other in shown):
            predicate = " AND ".join(conditions[at].sql(above, threshold) for at, above, threshold in path)
            shown.append((Slice(predicate, int(marked[members].sum()), int(members.sum()), largest), members))
    return [each for each, _ in shown]


def _conditions(table: pa.Table) -> Iterator[_Condition]:
    for name in table.column_names:
        column: Any = table[name].combine_chunks()
        kind = column.type
        if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not column.null_count:
            numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            if np.isfinite(numbers).all() and len(np.unique(numbers)) > 1:
                yield _Condition(name, numbers, None)
        elif pa.types.is_boolean(kind) or pa.types.is_string(kind):
            values = [value for value in pc.unique(column).to_pylist() if value is not None]
            for value in values if 1 < len(values) <= _VALUES else ():
                same = pc.fill_null(pc.equal(column, value), False).to_numpy(zero_copy_only=False)
                escaped = str(value).replace("'", "''")
                yield _Condition(
                    name, same.astype(float), str(value).lower() if value in (True, False) else f"'{escaped}'"
                )


_Path = list[tuple[int, bool, float]]
"""The conditions that lead to a node: the column of values, whether they are above the threshold, the threshold."""


def _nodes(tree: Any, values: NDArray[np.float64]) -> Iterator[tuple[_Path, NDArray[np.bool_]]]:
    """Every node below the root: the conditions that lead to it, without those that others imply, and its rows."""
    pending: list[tuple[int, _Path, NDArray[np.bool_]]] = [(0, [], np.ones(len(values), dtype=bool))]
    while pending:
        node, path, members = pending.pop()
        if path:
            yield path, members
        column, threshold = int(tree.feature[node]), float(tree.threshold[node])
        if column < 0:  # a leaf
            continue
        above = values[:, column] > threshold
        for child, is_above, rows in (
            (tree.children_left[node], False, members & ~above),
            (tree.children_right[node], True, members & above),
        ):
            # A later bound of the same side is the tighter one.
            kept = [each for each in path if each[:2] != (column, is_above)]
            pending.append((int(child), [*kept, (column, is_above, threshold)], rows))
