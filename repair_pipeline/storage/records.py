"""Domain values to files and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from repair_pipeline.storage.files import Notes, read_parquet, write_parquet
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.types import CorruptedDataset, Examples, InfluenceScores, TestPartition, TrainingRows

ALL_FAILURES = "all"


def save_rows(path: Path, table: str, rows: Iterable[Mapping[str, Any]], notes: Notes) -> None:
    """Write ``rows`` (without the columns that the path carries) as a file of ``table``."""
    carried = {part.split("=")[0] for part in path.parts if "=" in part}
    schema = pa.schema([field for field in TABLES[table] if field.name not in carried])
    write_parquet(path, pa.Table.from_pylist(list(rows), schema=schema), notes)


def save_dataset(path: Path, data: CorruptedDataset, notes: Notes) -> None:
    """Write every row with its input, labels and part."""
    untouched = torch.zeros(len(data.test), dtype=torch.bool)
    parts = {
        "fit": data.fit,
        "validation": data.validation,
        "test": TrainingRows(data.test, data.test.labels, untouched),
    }
    everything = Examples.concat([rows.examples for rows in parts.values()])
    table = pa.table(
        {
            "example_id": everything.ids,
            "part": np.repeat(list(parts), [len(rows.examples) for rows in parts.values()]),
            "label": everything.labels.numpy(),
            "clean_label": torch.cat([rows.clean_labels for rows in parts.values()]).numpy(),
            "corrupted": torch.cat([rows.corrupted for rows in parts.values()]).numpy(),
            # Arrow would keep another order in memory as a permutation, and cannot read that back.
            "input": pa.FixedShapeTensorArray.from_numpy_ndarray(everything.inputs.contiguous().numpy()),
        }
    )
    write_parquet(path, table, {**notes, "classes": list(data.classes), "mean": data.mean.tolist()})


def load_dataset(path: Path) -> CorruptedDataset:
    """The data set as saved, bit for bit."""
    table, notes = read_parquet(path)

    def rows(part: str) -> TrainingRows:
        of_part = table.filter(pa.compute.equal(table["part"], part)).combine_chunks()
        column = {name: of_part[name].to_numpy() for name in ("label", "clean_label", "corrupted")}
        inputs = of_part["input"].combine_chunks().to_numpy_ndarray()
        ids = np.array(of_part["example_id"].to_pylist(), dtype=np.str_)
        examples = Examples(ids, torch.tensor(inputs), torch.tensor(column["label"]))
        return TrainingRows(examples, torch.tensor(column["clean_label"]), torch.tensor(column["corrupted"]))

    return CorruptedDataset(
        rows("fit"),
        rows("validation"),
        rows("test").examples,
        tuple(notes["classes"]),
        torch.tensor(notes["mean"], dtype=torch.float32),
    )


def fingerprint(data: CorruptedDataset) -> str:
    """16 hex digits over all ids, parts and given labels."""
    digest = hashlib.sha256()
    for part in (data.fit.examples, data.validation.examples, data.test):
        digest.update("\n".join(part.ids).encode() + part.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def save_partition(path: Path, data: CorruptedDataset, tests: TestPartition, notes: Notes) -> None:
    """Write the case's ``examples`` table, and which query rows ``query_fraction`` left aside."""
    rows = []
    for split, part in (("fit", data.fit), ("validation", data.validation)):
        columns = (part.examples.ids, part.examples.labels, part.clean_labels, part.corrupted)
        rows += [
            {"example_id": i, "split": split, "label": y, "clean_label": c, "corrupted": k, "label_changed": y != c}
            for i, y, c, k in zip(*(column.tolist() for column in columns), strict=True)
        ]
    for split, examples in tests.parts().items():
        # Query-side failures left aside are query rows all the same: every example has exactly one split.
        name = "query" if split == "unused_query" else split
        rows += [
            {"example_id": i, "split": name, "label": y, "clean_label": y, "corrupted": False, "label_changed": False}
            for i, y in zip(examples.ids.tolist(), examples.labels.tolist(), strict=True)
        ]
    save_rows(path, "examples", rows, {**notes, "unused_query": tests.unused_query.ids.tolist()})


def load_partition(path: Path, test: Examples) -> TestPartition:
    """The partition as saved, its rows taken from ``test``."""
    table, notes = read_parquet(path)
    split_of = dict(zip(table["example_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    split_of.update(dict.fromkeys(notes["unused_query"], "unused_query"))
    splits = np.array([split_of[example_id] for example_id in test.ids])
    names = ("query", "query_tuning", "holdout", "guard", "remaining", "unused_query", "other_failures")
    return TestPartition(**{name: test[torch.from_numpy(splits == name)] for name in names})


def save_scores(path: Path, scores: InfluenceScores, notes: Notes) -> None:
    """Write one method's influence table, most harmful first."""
    rows = [
        {
            "failure_group": ALL_FAILURES,
            "example_id": str(scores.ids[at]),
            "influence": scores.values[at].item(),
            "rank": rank,
        }
        for rank, at in enumerate(scores.order, start=1)
    ]
    read_as = {"sign": "positive is harmful", "unit": scores.unit, "neutral": scores.neutral}
    null = {} if scores.null is None else {"null": scores.null.tolist()}
    save_rows(path, "influence", rows, {**read_as, **notes, **scores.notes, **null})


def load_scores(path: Path, like: Examples) -> InfluenceScores:
    """One method's scores, in the order of ``like``."""
    table, notes = read_parquet(path)
    row_of = {example_id: row for row, example_id in enumerate(table["example_id"].to_pylist())}
    rows = [row_of[example_id] for example_id in like.ids]

    values = torch.tensor(table["influence"].to_numpy()[rows])
    null = torch.tensor(notes["null"], dtype=torch.float64) if "null" in notes else None
    return InfluenceScores(like.ids, values, notes["unit"], neutral=notes["neutral"], null=null)
