"""Telling Dagster's pages of what was made without it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import dagster as dg

from repair_pipeline.defs.assets.measures import Measures, measures
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.tracking.runs import run_url


def tell(instance: dg.DagsterInstance, case: Case, made: Collection[Path]) -> None:
    """Report a materialisation of every asset of a case that has files among ``made``.

    Checks are not told: of a case, Dagster stores the verdict of a check outside runs once only.
    """
    tracked = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    link: Measures = {"made_by": "repair run", "mlflow_run": dg.MetadataValue.url(run_url(tracked))}
    for step in STEPS:
        if any(file.path in made for file in step.files(case)):
            said = dg.AssetMaterialization(step.name, partition=case.id, metadata={**measures(step, case), **link})
            instance.report_runless_asset_event(said)
