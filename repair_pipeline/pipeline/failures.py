"""The failures that a case repairs."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from repair_pipeline.cases.sources import (
    FailureGroups,
    FailuresOfClasses,
    FailuresWhere,
    ListedFailures,
    ReportedFailures,
)
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.datasets.failures_list import read_failures
from repair_pipeline.datasets.labels import column_of, texts
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.partition import partition
from repair_pipeline.reporting.slices import about
from repair_pipeline.storage.asking import ask_rows
from repair_pipeline.types import ALL_FAILURES, CorruptedDataset, Examples, TestPartition

Masks = Mapping[str, Bool[Tensor, " n"]]


def group_masks(
    spec: CaseSpec, data: CorruptedDataset, predicted: Shaped[Tensor, "n *l"], right: Bool[Tensor, " n"]
) -> Masks | None:
    """A mask of test rows for each failure group, right or wrong ones; None: the case takes all rows.

    Args:
        spec: the case.
        data: its data.
        predicted: the base model's predictions of the test rows.
        right: whether each counts as right.

    Raises:
        InputError: the case's list or a predicate cannot be used, no row is of a group, or a listed failure is none.
    """
    match spec.failures:
        case FailuresOfClasses(classes):
            return {ALL_FAILURES: torch.isin(data.test.labels, torch.tensor(sorted(classes)))}
        case ListedFailures(file):
            return {ALL_FAILURES: _wrong(_listed(file, spec, data), file, data, right)}
        case ReportedFailures(file):
            return {ALL_FAILURES: _listed(file, spec, data, strangers=True)}
        case FailuresWhere(predicate):
            return {ALL_FAILURES: _where("failures.where", predicate, data, predicted)}
        case FailureGroups(groups):
            return {
                name: _where(f"failures.groups.{name}", predicate, data, predicted)
                for name, predicate in groups.items()
            }
    return None


def failure_parts(
    spec: CaseSpec, data: CorruptedDataset, predicted: Shaped[Tensor, "n *l"], right: Bool[Tensor, " n"]
) -> dict[str, TestPartition]:
    """The partition of the test set for each failure group, by what the base model predicts, and whether it is right.

    Raises:
        InputError: the failures cannot be used, or a group has too few.
    """
    rng = numpy_stream(spec.seed, "failure_partition")
    groups = group_masks(spec, data, predicted, right)
    return partition(right, data.test, spec.query_fraction, rng, groups, data.also_in_training)


def group_of(groups: Masks, test: Examples) -> dict[str, str]:
    """The group of each test row: the first group that contains it."""
    group_by_id: dict[str, str] = {}
    for name, mask in groups.items():
        group_by_id |= dict.fromkeys(set(test.ids[mask.numpy()].tolist()) - group_by_id.keys(), name)
    return group_by_id


def about_test_rows(data: CorruptedDataset, predicted: Shaped[Tensor, "n *l"]) -> pa.Table:
    """The table that predicates are evaluated on: labels by the class's name or as numbers, and the user's columns."""
    table = about(data, data.test).add_column(0, "example_id", pa.array(data.test.ids.tolist()))
    return table.add_column(2, "predicted", pa.array(column_of(predicted, data.classes)))


def _where(key: str, predicate: str, data: CorruptedDataset, predicted: Tensor) -> Tensor:
    rows = about_test_rows(data, predicted)
    mask = torch.tensor(ask_rows(rows, predicate, key))
    if not mask.any():
        raise InputError(
            f"{key} is {predicate!r} and holds for none of {len(rows)} test rows: "
            f"write a predicate over {', '.join(rows.column_names)}"
        )
    return mask


def _listed(file: str, spec: CaseSpec, data: CorruptedDataset, strangers: bool = False) -> Tensor:
    named = spec.dataset.id if isinstance(spec.dataset, UserData) else None
    ids = read_failures(spec.root / file, data.test.ids, data.metadata, named, strangers)
    return data.test.having(frozenset(ids.tolist()))


def _wrong(mask: Tensor, file: str, data: CorruptedDataset, right: Tensor) -> Tensor:
    """The mask, after checking that the base model gets none of the rows right."""
    unexpected = mask & right
    if unexpected.any():
        first = torch.nonzero(unexpected)[0, 0]
        raise InputError(
            f"{file} lists {int(unexpected.sum())} of {int(mask.sum())} rows that the base model gets right, "
            f"{data.test.ids[first]} the first (label {texts(data.test.labels[first : first + 1], data.classes)[0]}): "
            "take them off the list, or check that these are the weights that failed"
        )
    return mask
