"""``repair patch``."""

from __future__ import annotations

from pathlib import Path

import typer

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.own import OwnData
from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout


def apply(key: str) -> None:
    """Apply a case's patch.

    Raises:
        InputError: the case has no patch, or its data cannot be patched.
    """
    layout = Layout.from_environment()
    data, path = _own(stored_spec(layout, key)), layout.table("patch", key)
    if not path.exists():
        raise InputError(f"case {key} has no patch yet: run it first: repair run {key}")
    dropped, relabelled = apply_patch(data, Path.cwd(), read_parquet(path)[0], key)
    typer.echo(f"{data.train}: {dropped} rows dropped, {relabelled} relabelled; back by: repair patch revert {key}")


def revert(key: str) -> None:
    """Take a case's patch back.

    Raises:
        InputError: it is not applied.
    """
    data = _own(stored_spec(Layout.from_environment(), key))
    revert_patch(data, Path.cwd(), key)
    typer.echo(f"{data.train}: as before {key}")


def _own(spec: CaseSpec) -> OwnData:
    if not isinstance(spec.dataset, OwnData):
        raise InputError(f"the data of {spec.name} are {spec.data_name}, no files of yours: there is nothing to patch")
    return spec.dataset
