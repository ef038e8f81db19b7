"""Checks before a run or a promotion: applied patches, the owner of the model, and whether a repair is accepted."""

from __future__ import annotations

import json
from pathlib import Path

from repair_pipeline.cases.sources import UserModel
from repair_pipeline.datasets.patching import applied_patches
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.interrupted import undo_interrupted
from repair_pipeline.reporting.descriptions import plain
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.registry import candidate


def require_runnable(case: Case) -> None:
    """Refuse a run that would judge other data, or overwrite another project's model.

    Raises:
        InputError: its patch, or that of an earlier case of its name, is applied to its data; or the registered model
            that its repair would become a version of is another folder's.
    """
    undo_interrupted(case.spec, case.layout)
    _require_unpatched(case)
    _require_own_model(case)


def _require_unpatched(case: Case) -> None:
    """With the case's own patch applied, a run would judge other data than the case's."""
    data = case.spec.dataset
    if not isinstance(data, UserData):
        return
    applied = sorted(applied_patches(data, case.spec.root))
    if own_patches := [key for key in applied if key == case.id or _name_of(case.layout, key) == case.spec.name]:
        raise InputError(
            f"the patch of {own_patches[0]} is applied to {data.train}, and its verdict is about the data before: "
            f"repair report {own_patches[0]} shows it, repair patch revert {own_patches[0]} goes back; "
            "to repair a model of the patched data, give the case another name"
        )


def applied_patch_of_another(case: Case) -> str | None:
    """A warning that the training data have another case's patch, while the case gives weights; None if not."""
    data, model = case.spec.dataset, case.spec.model
    if not (isinstance(data, UserData) and isinstance(model, UserModel) and model.weights):
        return None
    others = [key for key in applied_patches(data, case.spec.root) if key not in (case.spec.patches or ())]
    if not others:
        return None
    return (
        f"{data.train} has the patch of {' and of '.join(others)} applied, and {model.weights} may be older than it: "
        f"give weights that were trained on the patched data, or go back: repair patch revert {others[-1]}"
    )


def require_accepted(layout: Layout, name: str) -> None:
    """Refuse to promote a model without a candidate where its last case tells why there is none.

    Raises:
        InputError: the verdict on the last case of this model is not *accepted*.
    """
    if candidate(layout, name) is not None:
        return
    rows = query(
        layout,
        "SELECT case_id, verdict, reason, "
        "coalesce(json_extract_string(spec, '$.template'), json_extract_string(spec, '$.name')) AS model "
        "FROM cases JOIN verdicts USING (case_id) WHERE judge = 'gate' ORDER BY created_at, failure_group",
    ).to_pylist()
    key = next((row["case_id"] for row in reversed(rows) if row["model"] == name), None)
    of_last = [row for row in rows if row["case_id"] == key]
    if of_last and not any(row["verdict"] == "accepted" for row in of_last):
        verdicts = " and ".join(plain(verdict) for verdict in dict.fromkeys(row["verdict"] for row in of_last))
        reasons = " ".join(row["reason"] for row in of_last if row["reason"])
        raise InputError(
            f"model {name!r} has no candidate: the verdict on {key} is {verdicts}, and only an accepted repair becomes "
            f"one. {reasons} To see the evidence: repair report {key}"
        )


def _name_of(layout: Layout, key: str) -> str | None:
    """The name of a stored case; None where this home does not have it."""
    return stored_spec(layout, key).name if layout.table("cases", key).exists() else None


def _require_own_model(case: Case) -> None:
    """Two projects in one home may not share a registered model: the repair of one would replace that of the other."""
    name, folder = case.spec.model_name, case.spec.folder
    if case.spec.gate is None or folder is None:
        return
    for path in sorted(case.layout.results.glob("registered/*/candidate.json")):
        if json.loads(path.read_text(encoding="utf-8"))["name"] != name:
            continue
        key = path.parent.name.removeprefix("case_id=")
        other = stored_spec(case.layout, key).folder
        if key != case.id and other and Path(other).is_dir() and not Path(other).samefile(folder):
            raise InputError(
                f"{name} is called as the model of {other}, whose case {key} has a repair in this home: give this one "
                "another name (--set name=...), or set REPAIR_HOME to a home of its own"
            )
