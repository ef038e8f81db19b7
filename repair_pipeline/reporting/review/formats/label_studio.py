"""Label Studio: a JSON file of tasks with predictions and annotations, and the labelling interface as XML."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from repair_pipeline.errors import InputError
from repair_pipeline.reporting.review.formats.row import Answer, HandedOver, moment
from repair_pipeline.storage.decision_log import CHOICES
from repair_pipeline.storage.files import write_text

_DECISIONS = [choice for choice in CHOICES if choice != "undecided"]


def write(path: Path, rows: list[HandedOver], classes: tuple[str, ...]) -> None:
    """Write the tasks, and beside them the labelling interface of the same name with the suffix ``.xml``."""
    write_text(path, json.dumps([_task(row) for row in rows], indent=1, ensure_ascii=False))
    shown = "Image" if any(row.image is not None for row in rows) else "Text"
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in classes)
    decisions = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in _DECISIONS)
    write_text(
        path.with_suffix(".xml"),
        f'<View>\n  <{shown} name="input" value="$input"/>\n  <Header value="Given: $given_label"/>\n'
        f'  <Choices name="decision" toName="input" required="true">\n{decisions}\n  </Choices>\n'
        f'  <Choices name="label" toName="input" visibleWhen="choice-selected" whenTagName="decision" '
        f'whenChoiceValue="relabel">\n{choices}\n  </Choices>\n  <TextArea name="note" toName="input"/>\n</View>\n',
    )


def _task(row: HandedOver) -> dict[str, Any]:
    known, said = row.row, row.decision
    task: dict[str, Any] = {
        "data": {
            "input": _input(row),
            "example_id": known["example_id"],
            "given_label": known["label"],
            "probability": known["probability"],
            "action": known["action"],
            "rank": known["rank"],
            **{f"own_{name}": value for name, value in known["own"].items()},
        },
        "predictions": [],
        "annotations": [],
    }
    if known["suggested_label"] is not None:
        score, result = known["suggestion_probability"], [_choice("label", known["suggested_label"])]
        task["predictions"] = [{"model_version": "repair_pipeline", "score": score, "result": result}]
    if said is not None:
        result = [_choice("decision", said.decision)]
        result += [_choice("label", said.label)] if said.label is not None else []
        result += [_value("note", "textarea", {"text": [said.note]})] if said.note else []
        task["annotations"] = [{"result": result, "who": said.who, "created_at": said.decided_at.isoformat()}]
    return task


def _input(row: HandedOver) -> str:
    if row.image is not None:
        return f"data:image/png;base64,{base64.b64encode(row.image).decode()}"
    features = (f"{of['name']} = {of['value']:g}" for of in row.row["features"])
    return row.row["text"] or ", ".join(features) or row.row["example_id"]


def _choice(name: str, value: str) -> dict[str, Any]:
    return _value(name, "choices", {"choices": [value]})


def _value(name: str, kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": "input", "type": kind, "value": value}


def read(path: Path, classes: tuple[str, ...]) -> Iterator[Answer]:
    """The annotations of an export as JSON: of each task the last one that was not cancelled.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        for task in json.loads(path.read_text(encoding="utf-8")):
            given = [each for each in task.get("annotations", ()) if not each.get("was_cancelled")]
            if given:
                yield _answer(task["data"], max(given, key=_time))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error!r}): give Label Studio's export as JSON") from error


def _time(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _answer(data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Answer:
    values: dict[str, str] = {}
    for each in annotation["result"]:
        value = each["value"]
        values[each["from_name"]] = "\n".join(value.get("choices") or value.get("text") or ())
    by = annotation.get("completed_by")
    who = by.get("email") if isinstance(by, dict) else None if by is None else f"annotator {by}"
    label = values.get("label")
    return Answer(
        str(data["example_id"]),
        # Who chooses the given label has confirmed it.
        values.get("decision") or ("keep" if label is not None and label == data.get("given_label") else None),
        label,
        annotation.get("who") or who,
        moment(_time(annotation).replace("Z", "+00:00")),
        values.get("note", ""),
    )
