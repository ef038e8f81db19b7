"""``repair list`` and ``repair report``."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.table import Column, Table

from repair_pipeline.cases.presets import preset_names
from repair_pipeline.cases.sources import KnownData
from repair_pipeline.cli.console import plain_console, print_whole
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.plan import staleness
from repair_pipeline.pipeline.status import Status
from repair_pipeline.reporting.comparison import render_comparison
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.views import query


def show_cases(register: bool) -> None:
    """Print a row for every stored case and every other preset; with ``register``, make each a Dagster partition."""
    layout = Layout.current()
    stored = {row["case_id"]: row for row in query(layout, "SELECT * FROM cases ORDER BY created_at").to_pylist()}
    keys = [*stored, *(key for key in preset_names() if key not in stored)]
    table = Table(Column("case", no_wrap=True), "data", "corruption", "seed", "status")
    for key in keys:
        try:
            spec = stored_spec(layout, key)
        except InputError as error:  # of a plugin that is not installed any more
            table.add_row(key, stored[key]["dataset"], "", "", f"cannot be read: {error}")
            continue
        rate = f" {spec.corruption.rate:g}" if spec.corruption and spec.plants else ""
        corruption = f"{spec.corruption.kind}{rate}" if spec.corruption else "none"
        size = f", {spec.dataset.train_size} rows" if isinstance(spec.dataset, KnownData) else ""
        data = spec.data_name + size
        status = stored.get(key, {}).get("status", "preset")
        if status == Status.finished:
            status = _currency(Case(spec, layout, data_dir(), torch.device("cpu")))
        table.add_row(key, data, corruption, str(spec.seed), status)
    print_whole(plain_console(), table)
    if register:
        register_cases(dagster_instance(layout), layout, keys)
        plain_console().print(f"{len(keys)} cases are registered as partitions in Dagster")


def _currency(case: Case) -> str:
    """Whether a finished case is still current, and why not."""
    try:
        reason = staleness(case)
    except InputError as error:  # such as a model version that the registry has no more
        reason = str(error)
    return f"stale: {reason}" if reason else Status.finished


def report_path(key: str | None, every: bool) -> Path:
    """The path of the report of case ``key``, or with ``every`` of the comparison of all cases, which is written.

    Raises:
        InputError: both or neither are given; the case is unknown or has not been run; no case is finished.
    """
    layout = Layout.current()
    if key and every:
        raise InputError(f"{key} and --all are both given: use repair report {key}, or repair report --all")
    if every:
        write_text(layout.comparison, render_comparison(layout))
        return layout.comparison
    if not key:
        raise InputError("no case is given: use repair report CASE, or repair report --all to compare all cases")
    stored_spec(layout, key)
    path = layout.report(key)
    if not path.is_file():
        raise InputError(f"case {key} has no report yet; to make it: repair run {key}")
    return path
