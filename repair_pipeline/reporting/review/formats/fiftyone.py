"""FiftyOne: a folder with ``samples.json``, ``metadata.json`` and the images in ``data/``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver, columns
from repair_pipeline.storage.decision_log import CHOICES
from repair_pipeline.storage.files import write_bytes, write_text


def write(path: Path, rows: list[HandedOver], classes: tuple[str, ...]) -> None:
    """Write the folder. Given and suggested labels are classifications; the decision is a tag, too."""
    for row in rows:
        if row.image is not None:
            write_bytes(path / "data" / row.name, row.image)
    samples = [_sample(row) for row in rows]
    write_text(path / "samples.json", json.dumps({"samples": samples}, indent=1, ensure_ascii=False))
    about = {"name": "repair_pipeline", "media_type": "image", "default_classes": list(classes)}
    write_text(path / "metadata.json", json.dumps(about, indent=1, ensure_ascii=False))


def _sample(row: HandedOver) -> dict[str, Any]:
    known, said = row.row, row.said
    suggested = known["suggested_label"]
    return {
        "filepath": f"data/{row.name}",
        "tags": [said["decision"]] if said["decision"] else [],
        "example_id": known["example_id"],
        "ground_truth": _classification(known["label"]),
        "suggestion": None if suggested is None else _classification(suggested, known["suggestion_probability"]),
        "probability": known["probability"],
        "rank": known["rank"],
        "text": known["text"],
        "own": known["own"],
        **said,
    }


def _classification(label: str, confidence: float | None = None) -> dict[str, Any]:
    return {"_cls": "Classification", "label": label, **({} if confidence is None else {"confidence": confidence})}


def read(path: Path, classes: tuple[str, ...]) -> Iterator[Answer]:
    """The decisions of the samples. A tag that is a decision counts, and so does an edited ``ground_truth``.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        for sample in json.loads((path / "samples.json").read_text(encoding="utf-8"))["samples"]:
            yield _answer(sample)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error!r}): give a folder with samples.json") from error


def _answer(sample: Mapping[str, Any]) -> Answer:
    tags = [tag for tag in sample.get("tags") or () if tag in CHOICES]
    if tags and sample.get("decision") not in tags:  # tagged in the app
        sample = {**sample, "decision": tags[-1], "who": None, "decided_at": None, "note": ""}
        if sample["decision"] == "relabel":
            sample = {**sample, "new_label": sample["ground_truth"]["label"]}
    return columns(sample, sample["ground_truth"]["label"])
