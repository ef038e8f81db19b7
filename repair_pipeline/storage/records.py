"""Saves data sets, partitions and scores to files, and loads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.datasets.labels import texts
from repair_pipeline.named_tensors import Batch
from repair_pipeline.storage.files import Notes, map_inputs, read_parquet, write_inputs, write_parquet
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.types import (
    ALL_FAILURES,
    CorruptedDataset,
    Examples,
    InfluenceScores,
    Progress,
    TestPartition,
    TrainingRows,
    silent,
)

OWN = "own: "
"""Prefix of the user's columns in the stored data set, so that they cannot clash with the pipeline's columns."""
_BATCH = 256
"""Rows whose inputs are computed and written together."""


def save_rows(path: Path, table: str, rows: Iterable[Mapping[str, Any]], notes: Notes) -> None:
    """Write rows as a file of a table.

    Args:
        path: the file. Columns that it holds as ``column=value`` are not written.
        table: name of the table.
        rows: by column.
        notes: for the file's metadata.
    """
    in_path = {part.split("=")[0] for part in path.parts if "=" in part}
    schema = pa.schema([field for field in TABLES[table] if field.name not in in_path])
    write_parquet(path, pa.Table.from_pylist(list(rows), schema=schema), notes)


def save_dataset(path: Path, data: CorruptedDataset, notes: Callable[[], Notes], progress: Progress = silent) -> None:
    """Write the labels and the part of every row, and the inputs in the same order as an array beside them.

    Args:
        path: the file of labels.
        data: the data set.
        notes: called after the inputs were written, so that it can measure the time.
        progress: called with (done, total) rows.
    """
    not_corrupted = torch.zeros(len(data.test), dtype=torch.bool)
    parts = {
        "fit": data.fit,
        "validation": data.validation,
        "test": TrainingRows(data.test, data.test.labels, not_corrupted),
    }
    ids = np.concatenate([rows.examples.ids for rows in parts.values()])

    def inputs() -> Iterator[Batch]:
        done = 0
        for rows in parts.values():
            for batch in rows.examples.batches(_BATCH):
                yield batch.inputs
                done += len(batch)
                progress(done, len(ids))

    table = pa.table(
        {
            "example_id": ids,
            "part": np.repeat(list(parts), [len(rows.examples) for rows in parts.values()]),
            "label": _column(torch.cat([rows.examples.labels for rows in parts.values()])),
            "clean_label": _column(torch.cat([rows.clean_labels for rows in parts.values()])),
            "corrupted": torch.cat([rows.corrupted for rows in parts.values()]).numpy(),
        }
    )
    user_columns = data.metadata
    if user_columns is not None:
        user_columns = user_columns.take(_positions(user_columns["example_id"].to_pylist(), ids))
        for name in user_columns.column_names[1:]:
            table = table.append_column(OWN + name, user_columns[name])
    properties = {
        "classes": list(data.classes),
        "mean": data.mean.tolist(),
        "also_in_training": sorted(data.also_in_training),
        "features": list(data.features),
    }
    write_inputs(inputs_path(path), len(ids), inputs())
    write_parquet(path, table, {**notes(), **properties})


def _column(labels: Tensor) -> pa.Array:
    """Labels as a column, of lists if a label has several parts."""
    flat = pa.array(labels.flatten().numpy())
    return flat if labels.dim() == 1 else pa.FixedSizeListArray.from_arrays(flat, labels.shape[1])


def _labels_in(column: pa.ChunkedArray) -> Tensor:
    kind, values = column.type, column.combine_chunks()
    if not pa.types.is_fixed_size_list(kind):
        return torch.tensor(column.to_numpy())
    return torch.tensor(values.flatten().to_numpy(zero_copy_only=False)).view(len(column), kind.list_size)


def inputs_path(path: Path) -> Path:
    """Path of the inputs of the data set saved at ``path``."""
    return path.with_name("inputs.npy")


def load_dataset(path: Path) -> CorruptedDataset:
    """The saved data set, bit for bit. Its inputs are memory-mapped."""
    table, notes = read_parquet(path)
    ids = np.array(table["example_id"].to_pylist(), dtype=np.str_)
    label, clean_label, corrupted = (_labels_in(table[name]) for name in ("label", "clean_label", "corrupted"))
    all_rows, part = Examples(ids, map_inputs(inputs_path(path)), label), table["part"].to_numpy()

    def rows(name: str) -> TrainingRows:
        selected = torch.from_numpy(part == name)
        return TrainingRows(all_rows[selected], clean_label[selected], corrupted[selected])

    user_columns = [name for name in table.column_names if name.startswith(OWN)]
    names = ["example_id", *(name.removeprefix(OWN) for name in user_columns)]
    return CorruptedDataset(
        rows("fit"),
        rows("validation"),
        rows("test").examples,
        tuple(notes["classes"]),
        torch.tensor(notes["mean"], dtype=torch.float32),
        table.select(["example_id", *user_columns]).rename_columns(names) if user_columns else None,
        frozenset(notes.get("also_in_training", ())),
        tuple(notes.get("features", ())),
    )


def fingerprint(data: CorruptedDataset) -> str:
    """16 hex digits of all ids and given labels, part by part."""
    digest = hashlib.sha256()
    for part in (data.fit.examples, data.validation.examples, data.test):
        digest.update("\n".join(part.ids).encode() + part.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_partition(
    path: Path,
    data: CorruptedDataset,
    parts: Mapping[str, TestPartition],
    notes: Notes,
    group_of: Mapping[str, str] | None = None,
) -> None:
    """Write the case's ``examples`` table. Its notes list the query rows that ``query_fraction`` leaves unused.

    Args:
        path: the file.
        data: the data set.
        parts: the test partition of each failure group.
        notes: for the file's metadata.
        group_of: the failure group of each test row that has one, by id; None: all rows are in the only group.
    """
    rows: list[dict[str, Any]] = []
    for split, part in (("fit", data.fit), ("validation", data.validation)):
        given, clean = _shown(part.examples.labels, data.classes), _shown(part.clean_labels, data.classes)
        rows += [
            {"example_id": i, "split": split, **_labels(y, c), "corrupted": k, "label_changed": y != c}
            for i, y, c, k in zip(part.examples.ids.tolist(), given, clean, part.corrupted.tolist(), strict=True)
        ]
    split_of: dict[str, str] = {}
    for tests in parts.values():
        # Other failures of one group may be query or holdout rows of another group, which takes precedence.
        split_of |= dict.fromkeys(set(tests.other_failures.ids.tolist()) - split_of.keys(), "other_failures")
        for split, examples in tests.parts().items():
            if split != "other_failures":
                # Unused query rows still have the split query, because every example has exactly one split.
                split_of |= dict.fromkeys(examples.ids.tolist(), "query" if split == "unused_query" else split)
    only_group, first_partition = next(iter(parts.items()))
    test_rows = Examples.concat(list(first_partition.parts().values()))
    rows += [
        {
            "example_id": i,
            "split": split_of[i],
            **_labels(y, y),
            "corrupted": False,
            "label_changed": False,
            "failure_group": only_group if group_of is None else group_of.get(i),
        }
        for i, y in zip(test_rows.ids.tolist(), _shown(test_rows.labels, data.classes), strict=True)
    ]
    schema = pa.schema([field for field in TABLES["examples"] if field.name != "case_id"])
    table = pa.Table.from_pylist(rows, schema=schema)
    if data.metadata is not None:
        positions = _positions(data.metadata["example_id"].to_pylist(), table["example_id"].to_pylist())
        user_columns = data.metadata.take(positions)
        for name in user_columns.column_names[1:]:
            table = table.append_column(name, user_columns[name])
    unused = [example_id for tests in parts.values() for example_id in tests.unused_query.ids.tolist()]
    write_parquet(path, table, {**notes, "unused_query": unused})


def _shown(labels: Tensor, classes: tuple[str, ...]) -> list[Any]:
    """Labels as the table has them: numbers, or if one has several parts texts."""
    return texts(labels, classes) if labels.dim() == 2 else labels.tolist()


def _labels(given: float | str, clean: float | str) -> dict[str, float | str]:
    """The columns of a row's label: of a class its number, or the number or text that is the label."""
    if isinstance(given, str):
        return {"label_text": given}
    kind = "label" if isinstance(given, int) else "label_value"
    return {kind: given, f"clean_{kind}": clean}


def _positions(ids: Iterable[str], wanted: Iterable[str]) -> list[int]:
    position_of = {example_id: position for position, example_id in enumerate(ids)}
    return [position_of[str(example_id)] for example_id in wanted]


def load_partition(path: Path, test: Examples, group: str = ALL_FAILURES) -> TestPartition:
    """The saved partition of one failure group.

    Args:
        path: the ``examples`` table.
        test: the test set, from which the rows are taken.
        group: the failure group.
    """
    table, notes = read_parquet(path)
    split_of = dict(zip(table["example_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    split_of.update(dict.fromkeys(notes["unused_query"], "unused_query"))
    if group != ALL_FAILURES:
        shared = {"guard", "remaining", "fit", "validation"}
        for example_id, row_group in zip(
            table["example_id"].to_pylist(), table["failure_group"].to_pylist(), strict=True
        ):
            if row_group != group and split_of[example_id] not in shared:
                split_of[example_id] = "other_failures"
    splits = np.array([split_of[example_id] for example_id in test.ids])
    names = ("query", "query_tuning", "holdout", "guard", "remaining", "unused_query", "other_failures")
    return TestPartition(**{name: test[torch.from_numpy(splits == name)] for name in names})


def save_scores(path: Path, scores: InfluenceScores, notes: Notes, group: str = ALL_FAILURES) -> None:
    """Write one method's influence table, most harmful first."""
    rows = [
        {
            "failure_group": group,
            "example_id": str(scores.ids[at]),
            "influence": scores.values[at].item(),
            "rank": rank,
            "probability": None if scores.probability is None else scores.probability[at].item(),
        }
        for rank, at in enumerate(scores.order, start=1)
    ]
    meaning = {"sign": "positive is harmful", "unit": scores.unit, "neutral": scores.neutral}
    save_rows(path, "influence", rows, {**meaning, **notes, **scores.notes})


def load_scores(path: Path, like: Examples) -> InfluenceScores:
    """One method's scores, in the order of the rows of ``like``."""
    table, notes = read_parquet(path)
    row_of = {example_id: row for row, example_id in enumerate(table["example_id"].to_pylist())}
    rows = [row_of[example_id] for example_id in like.ids]

    def column(name: str) -> Float64[Tensor, " n"]:
        return torch.tensor(table[name].to_numpy(zero_copy_only=False)[rows])

    known = table["probability"].null_count == 0
    return InfluenceScores(
        like.ids,
        column("influence"),
        notes["unit"],
        neutral=notes["neutral"],
        probability=column("probability") if known else None,
    )
