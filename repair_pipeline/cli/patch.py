"""``repair patch``."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import typer

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.own import OwnData
from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import PROVEN
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout


def apply(key: str) -> None:
    """Apply a case's patch: its rows of the groups whose repair is accepted or recommended.

    Raises:
        InputError: the case has no patch, none that its verdict calls for, or its data cannot be patched.
    """
    layout = Layout.from_environment()
    data, path = _own(stored_spec(layout, key)), layout.table("patch", key)
    if not path.exists():
        raise InputError(f"case {key} has no patch yet: run it first: repair run {key}")
    patch = _called_for(layout, key, read_parquet(path)[0])
    dropped, relabelled = apply_patch(data, Path.cwd(), patch, key)
    typer.echo(f"{data.train}: {dropped} rows dropped, {relabelled} relabelled; back by: repair patch revert {key}")
    typer.echo("next: train on it; a model of the patched data is repaired by a case of another name")


def revert(key: str) -> None:
    """Take a case's patch back.

    Raises:
        InputError: it is not applied.
    """
    data = _own(stored_spec(Layout.from_environment(), key))
    revert_patch(data, Path.cwd(), key)
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


def _own(spec: CaseSpec) -> OwnData:
    if not isinstance(spec.dataset, OwnData):
        raise InputError(f"the data of {spec.name} are {spec.data_name}, no files of yours: there is nothing to patch")
    return spec.dataset
