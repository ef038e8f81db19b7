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
    """Apply the rows of a case's ``patch.csv`` whose failure group has an accepted or recommended repair.

    Raises:
        InputError: the case has no patch, or none of its repairs is accepted or recommended, or its data cannot be
            patched or have changed since it was judged.
    """
    layout = Layout.current()
    spec = stored_spec(layout, key)
    data = _user_data(spec)
    if not layout.table("patch", key).exists():
        raise InputError(f"case {key} has no patch yet; to make it: repair run {key}")
    patch, edited = patch_as_edited(layout, key)
    patch = _proven_rows(layout, key, patch)
    if not is_applied(data, spec.root, key) and "dataset.train" in changed_data(spec, layout, key):
        ids = changed_labels(read(data, spec.root), patch)
        labels = f"; {len(ids)} rows of the patch have another label now: {shown(ids, 5)}" if ids else ""
        raise InputError(
            f"{data.train} has changed since {key} was judged on it{labels}: nothing was applied; run the case file "
            "again, and apply the patch of the new case"
        )
    dropped, relabelled = apply_patch(data, spec.root, patch, key)
    if edited:
        typer.echo(f"{layout.patch(key, 'patch.csv')}: {edited} rows were edited by you")
    typer.echo(f"{data.train}: {dropped} rows dropped, {relabelled} relabelled; undo with: repair patch revert {key}")
    typer.echo("next: retrain on it; to repair the retrained model, write a case with another name")


def revert(key: str) -> None:
    """Revert a case's patch.

    Raises:
        InputError: the patch is not applied.
    """
    spec = stored_spec(Layout.current(), key)
    data = _user_data(spec)
    revert_patch(data, spec.root, key)
    typer.echo(f"{data.train}: restored to what it was before the patch of {key}")


def _proven_rows(layout: Layout, key: str, patch: pa.Table) -> pa.Table:
    """The patch's rows whose failure group has an accepted or recommended repair."""
    verdicts = read_parquet(layout.table("verdicts", key))[0].to_pylist()
    by_group = {row["failure_group"]: row["verdict"] for row in verdicts if row["judge"] == "gate"}
    proven = [by_group.get(group) in PROVEN for group in patch["failure_group"].to_pylist()]
    if not any(proven):
        listed = ", ".join(sorted(set(by_group.values()))) or "missing"
        raise InputError(
            f"the verdict of {key} is {listed}: removing these rows is not proven to repair anything, so the data "
            f"were not changed; to see the rows: repair query \"SELECT * FROM patch WHERE case_id = '{key}'\""
        )
    return patch.filter(pa.array(proven))


def _user_data(spec: CaseSpec) -> UserData:
    if not isinstance(spec.dataset, UserData):
        raise InputError(
            f"the data of {spec.name} are {spec.data_name}, not files of yours: only your own data can be patched"
        )
    return spec.dataset
