"""A data set patch, applied to the owner's training data and taken back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch

from repair_pipeline.datasets.own import OwnData, read
from repair_pipeline.datasets.own_tables import image_files, is_image_folder, parquet_files, read_table
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset


def apply_patch(spec: OwnData, folder: Path, patch: pa.Table, name: str) -> tuple[int, int]:
    """Drop and relabel training rows; the original files are kept beside, as ``<train>.before-<name>``.

    Ids that are hashes count a repeated input's occurrences, so that where one of several equal rows is dropped those
    after it have other ids from then on.

    Args:
        patch: ``example_id``, ``action`` (drop, relabel) and ``suggested_label``, a class by name.

    Returns:
        How many rows were dropped, and how many relabelled.

    Raises:
        InputError: it is applied already, or names a row that the data do not have. Nothing is changed then.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    if is_applied(spec, folder, name):
        raise InputError(f"{before} is there, so the patch {name} is applied already: revert it first")
    changes = {row["example_id"]: row for row in patch.to_pylist()}
    data = read(spec, folder)
    ids = data.train.ids.tolist()
    if strangers := changes.keys() - set(ids):
        raise InputError(
            f"{train} has no row {min(strangers)!r}, one of {len(strangers)} that the patch {name} names and the data "
            "lack: they have changed since, run the case again"
        )
    by_row = [changes.get(example_id) for example_id in ids]
    if is_image_folder(train):
        _move_images(train, before, by_row)
    else:
        _rewrite(train, before, by_row, spec.label, data.classes)
    actions = [row["action"] for row in changes.values()]
    return actions.count("drop"), actions.count("relabel")


def patched(data: Dataset, patches: Iterable[pa.Table]) -> Dataset:
    """The data with rows dropped and relabelled as they are read; rows that the data lack were dropped before.

    Args:
        patches: as ``apply_patch`` takes them, in the order in which they were accepted.
    """
    train = data.train
    for patch in patches:
        changes = {row["example_id"]: row for row in patch.to_pylist()}
        said = [changes.get(example_id) for example_id in train.ids.tolist()]
        labels = [
            data.classes.index(change["suggested_label"]) if change and change["action"] == "relabel" else label
            for change, label in zip(said, train.labels.tolist(), strict=True)
        ]
        stays = torch.tensor([change is None or change["action"] != "drop" for change in said])
        train = replace(train, labels=torch.tensor(labels))[stays]
    return replace(data, train=train)


def revert_patch(spec: OwnData, folder: Path, name: str) -> None:
    """Put the training data back as they were before ``apply_patch``, byte for byte.

    Raises:
        InputError: the patch is not applied.
    """
    train, before = folder / spec.train, _before(spec, folder, name)
    if not is_applied(spec, folder, name):
        raise InputError(f"{before} is not there, so the patch {name} is not applied: there is nothing to revert")
    if is_image_folder(train):
        for moved in json.loads((before / _JOURNAL).read_text(encoding="utf-8")):
            if Path(moved["to"]).exists():  # it has not been put back by a run that was cut off
                Path(moved["from"]).parent.mkdir(exist_ok=True)
                os.replace(moved["to"], moved["from"])
        shutil.rmtree(before)
    elif train.is_dir():
        for file in parquet_files(before):
            _put_back(file, train / file.name)
        before.rmdir()
    else:
        _put_back(before, train)


def is_applied(spec: OwnData, folder: Path, name: str) -> bool:
    """Whether the training data are those that ``apply_patch`` has left."""
    return _before(spec, folder, name).exists()


def _put_back(original: Path, file: Path) -> None:
    os.replace(original, file)
    os.utime(file)  # or what was made of the patched data would pass for newer than it


_JOURNAL = "journal.json"
Change = Mapping[str, Any] | None
"""A row of the patch, or None for a row that stays as it is."""


def _before(spec: OwnData, folder: Path, name: str) -> Path:
    train = folder / spec.train
    return train.with_name(f"{train.name}.before-{name}")


def _rewrite(train: Path, before: Path, by_row: list[Change], label: str, classes: tuple[str, ...]) -> None:
    files = [train] if train.is_file() else parquet_files(train)
    kept = {train: before} if train.is_file() else {file: before / file.name for file in files}
    # All originals are kept before the first file is replaced. A link is there whole or not at all.
    if train.is_dir():
        before.mkdir()
    for file, original in kept.items():
        os.link(file, original)
    start = 0
    for file in files:
        table = read_table(file)
        part = by_row[start : start + len(table)]
        start += len(table)
        beside = file.with_name(f".{file.name}-patched")
        changed = _changed(table, part, label, classes)
        if file.suffix == ".csv":
            pa.csv.write_csv(changed, beside)
        else:
            pq.write_table(changed, beside)
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, file)


def _changed(table: pa.Table, part: list[Change], label: str, classes: tuple[str, ...]) -> pa.Table:
    column = table.schema.get_field_index(label)
    kind, values = table.schema.field(label).type, table[label].to_pylist()
    # Numbers stand either for classes by place, or for themselves by name.
    numbers = pa.types.is_integer(kind)
    by_place = numbers and not {str(value) for value in values} <= set(classes)
    for row, change in enumerate(part):
        if change is not None and change["action"] == "relabel":
            name = change["suggested_label"]
            values[row] = classes.index(name) if by_place else int(name) if numbers else name
    table = table.set_column(column, table.schema.field(label), pa.array(values, kind))
    return table.filter(pa.array([change is None or change["action"] != "drop" for change in part]))


def _move_images(train: Path, before: Path, by_row: list[Change]) -> None:
    moves = []
    for file, change in zip(image_files(train), by_row, strict=True):
        if change is not None:
            where = train / change["suggested_label"] if change["action"] == "relabel" else before / file.parent.name
            name = file.name if change["action"] == "drop" else f"{file.parent.name}-{file.name}"
            moves.append({"from": str(file), "to": str(where / name)})
    before.mkdir()
    (before / _JOURNAL).write_text(json.dumps(moves), encoding="utf-8")
    for move in moves:
        Path(move["to"]).parent.mkdir(exist_ok=True)
        os.replace(move["from"], move["to"])
