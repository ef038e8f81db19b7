"""Materialisations in Dagster of what the shell has made, so that its pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from repair_pipeline.defs.assets.checks import checked
from repair_pipeline.defs.assets.lineage import EVERY, Asset
from repair_pipeline.defs.assets.links import links
from repair_pipeline.defs.assets.measures import measures
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import Outcome


def report_materialisations(instance: dg.DagsterInstance, case: Case, outcome: Outcome) -> None:
    """Report every asset of which files were made, or that Dagster does not know yet, and its checks."""
    shown = {"made_by": "repair run", **links(case)}
    latest = dict[str, _Materialisation]()
    for asset in EVERY:
        files, stored = asset.files(case), _latest(instance, asset.name, case.id)
        if files and (stored is None or set(files) & set(outcome.made)):
            metadata = {**measures(asset.name, case), **shown}
            event = dg.AssetMaterialization(
                asset.name, partition=case.id, metadata=metadata, tags=_version_tags(asset, case, latest)
            )
            instance.report_runless_asset_event(event)
            for check, result in checked(asset, case, outcome.failed):
                instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=dg.AssetKey(asset.name),
                        check_name=check.name,
                        passed=result.passed,
                        metadata=result.metadata,
                        severity=check.severity,
                        description=result.description,
                        blocking=check.blocking,
                    )
                )
            stored = _latest(instance, asset.name, case.id)
        if stored is not None:
            latest[asset.name] = stored


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


def _version_tags(asset: Asset, case: Case, latest: Mapping[str, _Materialisation]) -> dict[str, str]:
    """The tags by which Dagster decides whether an asset is in sync, as its own runs write them."""
    tags = {_DATA_VERSION: asset.data_version(case)}
    if asset.code_version:
        tags["dagster/code_version"] = asset.code_version
    for name in asset.needs:
        before = latest.get(name, _NOT_MATERIALISED)
        tags[f"dagster/input_event_pointer/{name}"] = before.storage_id
        tags[f"dagster/input_data_version/{name}"] = before.data_version
    return tags
