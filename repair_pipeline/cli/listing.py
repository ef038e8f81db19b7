"""``repair list``. What only an option needs is imported by that option, so that the list itself is quick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import typer

from repair_pipeline.cases.families import FAMILIES, STUDY_SEEDS, preset_names
from repair_pipeline.cli.answer import print_answer
from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query

_STORED = """
    SELECT case_id, cases.seed, spec, status, string_agg(DISTINCT verdict, ', ' ORDER BY verdict) AS verdict
    FROM cases LEFT JOIN (SELECT case_id, verdict FROM verdicts WHERE judge = 'gate') USING (case_id)
    GROUP BY ALL ORDER BY any_value(created_at)
"""


def show_cases(form: str, stale: bool) -> None:
    """Print a row for every stored case, and the presets.

    Args:
        form: ``table``, ``csv`` or ``json``; the table has one row for all seeds of a preset.
        stale: compare each finished case with its data, settings and code, and say why it is stale.
    """
    layout = Layout.current()
    rows = [_row(case["case_id"], json.loads(case["spec"]), case) for case in _stored(layout)]
    if stale:
        for row in rows:
            row["status"] = _currency(layout, row)
    if form == "table":
        seeds = f"{{{STUDY_SEEDS[0]}..{STUDY_SEEDS[-1]}}}"
        rows += [_row(f"{family}-s{seeds}", fields, {"status": "preset"}) for family, fields in FAMILIES.items()]
    else:
        known = {row["case"] for row in rows}
        for name in preset_names():
            if name not in known:
                family, seed = name.rsplit("-s", 1)
                rows.append(_row(name, FAMILIES[family], {"status": "preset", "seed": int(seed)}))
    print_answer(pa.Table.from_pylist(rows), form)


def register_all() -> None:
    """Make every stored case and every preset a partition in Dagster."""
    from repair_pipeline.defs.partitions import dagster_instance, register_cases

    layout = Layout.current()
    keys = list(dict.fromkeys([*(case["case_id"] for case in _stored(layout)), *preset_names()]))
    register_cases(dagster_instance(layout), layout, keys)
    typer.echo(f"{len(keys)} cases are registered as partitions in Dagster")


def _stored(layout: Layout) -> list[dict[str, Any]]:
    return query(layout, _STORED).to_pylist()


def _row(case: str, spec: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    dataset, corruption = spec["dataset"], spec.get("corruption") or {}
    data = next(dataset[key] for key in ("name", "train", "torchvision") if key in dataset)
    if "train_size" in dataset:
        data += f", {dataset['train_size']} rows"
    kind = corruption.get("kind", "label_noise" if corruption else None)
    rate = f" {corruption['rate']:g}" if kind and corruption.get("rate") else ""
    return {
        "case": case,
        "data": data,
        "corruption": f"{kind}{rate}" if kind else None,
        "seed": stored.get("seed"),
        "status": stored["status"],
        "verdict": stored.get("verdict"),
    }


def _currency(layout: Layout, row: Mapping[str, Any]) -> str:
    """The case's status; for a finished one, whether it is stale, and why."""
    import torch

    from repair_pipeline.pipeline.case import Case, stored_spec
    from repair_pipeline.pipeline.plan import staleness
    from repair_pipeline.pipeline.status import Status
    from repair_pipeline.storage.layout import data_dir

    try:
        spec = stored_spec(layout, row["case"])
    except InputError as error:  # of a plugin that is not installed any more
        return f"cannot be read: {error}"
    if row["status"] != Status.finished:
        return str(row["status"])
    try:
        reason = staleness(Case(spec, layout, data_dir(), torch.device("cpu")))
    except InputError as error:  # such as a model version that the registry has no more
        reason = str(error)
    return f"stale: {reason}" if reason else Status.finished
