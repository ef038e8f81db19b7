"""The rows of a patch that the owner has changed since a case judged them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import pyarrow as pa
import torch

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.patching import changed_labels
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.named_tensors import tensors_of
from repair_pipeline.pipeline.inputs import changed_data
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import load_dataset
from repair_pipeline.types import Dataset, Examples

_BATCH = 256
"""Rows whose inputs are compared at once."""


def changed_rows(spec: CaseSpec, layout: Layout, key: str, patch: pa.Table, data: Dataset) -> Mapping[str, str]:
    """The rows of a patch that are gone, or whose label or inputs are not those that were judged.

    Args:
        spec: the case.
        layout: the store.
        key: the case's id.
        patch: the table ``patch`` of the case.
        data: the owner's data as they are.

    Returns:
        What has changed, as a phrase that follows the row's id, by example id.

    Raises:
        InputError: the training data have changed, and the inputs that were judged are not stored any more.
    """
    ids = set(patch["example_id"].to_pylist())
    changed = dict.fromkeys(sorted(ids - set(data.train.ids.tolist())), "is gone") | changed_labels(data, patch)
    by_column = isinstance(spec.dataset, UserData) and spec.dataset.id is not None  # other ids are hashes of the inputs
    if by_column and "dataset.train" in changed_data(spec, layout, key):
        path = layout.base(spec.base_id, "dataset.parquet")
        if not path.exists():
            raise InputError(
                f"the training data have changed since {key} was judged on them, and {path}, the data that it was "
                "judged on, is gone: nothing was applied; run the case file again, and apply the patch of the new case"
            )
        judged = load_dataset(path).fit.examples
        changed |= dict.fromkeys(_other_inputs(judged, data.train, ids - changed.keys()), "has other inputs")
    return changed


def _other_inputs(judged: Examples, now: Examples, ids: Collection[str]) -> Iterator[str]:
    at, was_at = ({name: row for row, name in enumerate(each.ids.tolist())} for each in (now, judged))
    names = sorted(ids & was_at.keys())
    if _form(judged) != _form(now):
        yield from names
        return
    for start in range(0, len(names), _BATCH):
        part = names[start : start + _BATCH]
        old = judged[torch.tensor([was_at[name] for name in part])].inputs
        new = now[torch.tensor([at[name] for name in part])].inputs
        parts = zip(tensors_of(old).values(), tensors_of(new).values(), strict=True)
        same = torch.stack([(was == now).flatten(1).all(dim=1) for was, now in parts]).all(dim=0).tolist()
        yield from (name for name, equal in zip(part, same, strict=True) if not equal)


def _form(rows: Examples) -> dict[str, torch.Size]:
    """The shape of each tensor of a row."""
    return {name: part.shape[1:] for name, part in tensors_of(rows[:1].inputs).items()}
