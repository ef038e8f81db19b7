"""Telling Dagster's pages of what was made without it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import dagster as dg

from repair_pipeline.defs.assets.measures import Measures, measures
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.tracking.runs import run_url


def report_materialisations(instance: dg.DagsterInstance, case: Case, made: Collection[Path]) -> None:
    """Report a materialisation of every asset of a case that has files among ``made``, or that was never told.

    A method that failed is not told. Nor are checks: outside runs, Dagster stores a check of a case only once.
    """
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    link: Measures = {"made_by": "repair run", "mlflow_run": dg.MetadataValue.url(run_url(tracked))}
    for step in STEPS:
        paths = [file.path for file in step.files(case)]
        if not paths or not all(path.exists() for path in paths):
            continue
        if set(paths) & set(made) or case.id not in instance.get_materialized_partitions(dg.AssetKey(step.name)):
            said = dg.AssetMaterialization(
                step.name,
                partition=case.id,
                metadata={**measures(step, case), **link},
                tags=_versions(step, case),
            )
            instance.report_runless_asset_event(said)


def _versions(step: Step, case: Case) -> dict[str, str]:
    """What Dagster tells by whether it is synced, as it writes it down for what its own runs have made."""
    before = {other.name: other.digest(case) for other in STEPS if other.name in step.needs and other.files(case)}
    return {
        "dagster/code_version": str(step.version),
        "dagster/data_version": step.digest(case),
        **{f"dagster/input_data_version/{name}": digest for name, digest in before.items()},
    }
