"""``repair patch``."""

from __future__ import annotations

import pyarrow as pa
import typer

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.labels import shown
from repair_pipeline.datasets.patching import apply_patch, changed_labels, is_applied, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import PROVEN
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.pipeline.inputs import changed_data
from repair_pipeline.pipeline.patch import patch_as_edited
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout


def apply(key: str) -> None:
    """Apply a case's patch as ``patch.csv`` has it: its rows of the groups whose repair is accepted or recommended.

    Raises:
        InputError: the case has no patch, none that its verdict calls for, or its data cannot be patched or are not
            those that it was judged on.
    """
    layout = Layout.current()
    spec = stored_spec(layout, key)
    data = _own(spec)
    if not layout.table("patch", key).exists():
        raise InputError(f"case {key} has no patch yet: run it first: repair run {key}")
    patch, edited = patch_as_edited(layout, key)
    patch = _called_for(layout, key, patch)
    if not is_applied(data, spec.root, key) and "dataset.train" in changed_data(spec, layout, key):
        rows = changed_labels(read(data, spec.root), patch)
        has = f"; {len(rows)} rows of the patch have another label now: {shown(rows, 5)}" if rows else ""
        raise InputError(
            f"{data.train} has changed since {key} was judged on it{has}: nothing is applied; run the case file "
            "again, and apply the patch of the data as they are"
        )
    dropped, relabelled = apply_patch(data, spec.root, patch, key)
    if edited:
        typer.echo(f"{layout.patch(key, 'patch.csv')}: {edited} rows as you edited them")
    typer.echo(f"{data.train}: {dropped} rows dropped, {relabelled} relabelled; back by: repair patch revert {key}")
    typer.echo("next: train on it; a model of the patched data is repaired by a case of another name")


def revert(key: str) -> None:
    """Take a case's patch back.

    Raises:
        InputError: it is not applied.
    """
    spec = stored_spec(Layout.current(), key)
    data = _own(spec)
    revert_patch(data, spec.root, key)
    typer.echo(f"{data.train}: as before {key}")


def _called_for(layout: Layout, key: str, patch: pa.Table) -> pa.Table:
    """Its rows of the groups whose repair is accepted or recommended."""
    verdicts = read_parquet(layout.table("verdicts", key))[0].to_pylist()
    said = {row["failure_group"]: row["verdict"] for row in verdicts if row["judge"] == "gate"}
    wanted = [said.get(group) in PROVEN for group in patch["failure_group"].to_pylist()]
    if not any(wanted):
        verdicts_of = ", ".join(sorted(set(said.values()))) or "missing"
        raise InputError(
            f"the verdict of {key} is {verdicts_of}: no removal is proven to repair, so the data stay; "
            f"see repair query \"SELECT * FROM patch WHERE case_id = '{key}'\""
        )
    return patch.filter(pa.array(wanted))


def _own(spec: CaseSpec) -> UserData:
    if not isinstance(spec.dataset, UserData):
        raise InputError(f"the data of {spec.name} are {spec.data_name}, no files of yours: there is nothing to patch")
    return spec.dataset
