"""Materialisations in Dagster of what the shell has made, so that its pages show them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from repair_pipeline.defs.assets.measures import Measures, measures
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.tracking.runs import run_url


def report_materialisations(instance: dg.DagsterInstance, case: Case, made: Collection[Path]) -> None:
    """Report a materialisation of every asset that has files among ``made``, or that has none in Dagster yet.

    Steps that failed are left out, and so are checks: outside a run Dagster stores only the first result of a check.
    """
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    link: Measures = {"made_by": "repair run", "mlflow_run": dg.MetadataValue.url(run_url(tracked))}
    latest = dict[str, _Materialisation]()
    for step in STEPS:
        paths = [file.path for file in step.files(case)]
        stored = _latest(instance, step.name, case.id)
        if paths and all(path.exists() for path in paths) and (stored is None or set(paths) & set(made)):
            event = dg.AssetMaterialization(
                step.name,
                partition=case.id,
                metadata={**measures(step, case), **link},
                tags=_version_tags(step, case, latest),
            )
            instance.report_runless_asset_event(event)
            stored = _latest(instance, step.name, case.id)
        if stored is not None:
            latest[step.name] = stored


@dataclass(frozen=True)
class _Materialisation:
    """The latest materialisation of an asset's partition, as later ones refer to it."""

    storage_id: str
    data_version: str


_NOT_MATERIALISED = _Materialisation("NULL", "INITIAL")
"""What Dagster itself writes down for a dependency that has no materialisation."""


def _latest(instance: dg.DagsterInstance, asset: str, partition: str) -> _Materialisation | None:
    found = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=1
    )
    if not found.records:
        return None
    [record] = found.records
    tags = record.asset_materialization.tags if record.asset_materialization else None
    return _Materialisation(str(record.storage_id), (tags or {}).get(_DATA_VERSION, _NOT_MATERIALISED.data_version))


_DATA_VERSION = "dagster/data_version"


def _version_tags(step: Step, case: Case, latest: Mapping[str, _Materialisation]) -> dict[str, str]:
    """The tags by which Dagster decides whether an asset is in sync, as its own runs write them."""
    tags = {"dagster/code_version": str(step.version), _DATA_VERSION: step.digest(case)}
    for name in step.needs:
        before = latest.get(name, _NOT_MATERIALISED)
        tags[f"dagster/input_event_pointer/{name}"] = before.storage_id
        tags[f"dagster/input_data_version/{name}"] = before.data_version
    return tags
