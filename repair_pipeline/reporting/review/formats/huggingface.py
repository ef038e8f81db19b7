"""Hugging Face: a folder that ``datasets.load_dataset`` reads, with one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver, columns
from repair_pipeline.storage.files import write_text, write_whole

_FILE = "data/train-00000-of-00001.parquet"
_SAID = ("decision", "new_label", "who", "decided_at", "note")


def write(path: Path, rows: list[HandedOver], classes: tuple[str, ...]) -> None:
    """Write the folder: a ``ClassLabel`` as ``label``, images as ``Image``, the owner's columns as text."""
    images = any(row.image is not None for row in rows)
    kinds: dict[str, pa.DataType] = {"example_id": pa.string(), "label": pa.int64(), "suggested_label": pa.string()}
    features: dict[str, Any] = {name: _value("string") for name in ("example_id", "suggested_label", *_SAID)}
    features |= {"label": {"names": list(classes), "_type": "ClassLabel"}, "probability": _value("float64")}
    kinds |= {"probability": pa.float64(), **dict.fromkeys(_SAID, pa.string())}
    if images:
        kinds["image"] = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        features["image"] = {"_type": "Image"}
    own = {f"own_{name}": name for name in (rows[0].row["own"] if rows else ())}
    extra = [*own, "text"]
    kinds |= dict.fromkeys(extra, pa.string())
    features |= {name: _value("string") for name in extra}
    lines = [
        {
            **{name: row.row[name] for name in ("example_id", "suggested_label", "probability", "text")},
            "label": classes.index(row.row["label"]),
            **row.said,
            **({"image": {"bytes": row.image, "path": row.name}} if images else {}),
            **{name: row.row["own"][column] for name, column in own.items()},
        }
        for row in rows
    ]
    about = {"info": {"features": {name: features[name] for name in kinds}}}
    schema = pa.schema(list(kinds.items()), metadata={b"huggingface": json.dumps(about).encode()})
    table = pa.Table.from_pylist(lines, schema=schema)
    write_whole(path / _FILE, lambda temporary: pq.write_table(table, temporary))
    write_text(
        path / "README.md",
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n",
    )


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


def read(path: Path, classes: tuple[str, ...]) -> Iterator[Answer]:
    """The decisions in the Parquet files of the folder. An edited ``label`` counts where there is no decision.

    Raises:
        InputError: the folder cannot be read.
    """
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise InputError(f"{path} has no Parquet file: give the folder that was exported")
    try:
        for file in files:
            for line in pq.ParquetFile(file).read().drop_columns(_images(file)).to_pylist():
                label = line.get("label")
                yield columns(line, classes[label] if isinstance(label, int) else label)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} cannot be read ({error!r}): give a folder of Parquet files") from error


def _images(file: Path) -> list[str]:
    return [field.name for field in pq.read_schema(file) if pa.types.is_struct(field.type)]
