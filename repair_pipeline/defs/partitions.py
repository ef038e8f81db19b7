"""Dagster's home, and the cases as its partitions."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
import torch

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.status import Status
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.locks import locked

CASES = dg.DynamicPartitionsDefinition(name="case")
"""Every case is a key, so lineage, backfills and schedules work per case."""

_SETTINGS = """\
# Written once; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
freshness:
  enabled: true
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false  # steps are tried again themselves; this is for runs that were killed
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
concurrency:
  pools:
    default_limit: 1  # one heavy step at a time: there is one GPU
    granularity: op
"""


def dagster_instance(layout: Layout) -> dg.DagsterInstance:
    """Dagster's state in its fixed home, which is made where it is not there; a second process waits for that."""
    settings = layout.dagster_home / "dagster.yaml"
    layout.dagster_home.mkdir(parents=True, exist_ok=True)
    with locked(layout.dagster_home / ".dagster.lock", layout.dagster_home):
        if not settings.exists():
            write_text(settings, _SETTINGS)
        return dg.DagsterInstance.from_config(str(addressable(layout.dagster_home)))


def register_cases(instance: dg.DagsterInstance, layout: Layout, cases: Iterable[str | CaseSpec]) -> list[str]:
    """Make partition keys of cases, given as specs or as the ids of presets and stored cases; returns their ids.

    Raises:
        InputError: an id is neither a preset's nor a stored case's.
    """
    keys = []
    for given in cases:
        spec = stored_spec(layout, given) if isinstance(given, str) else given
        case = Case(spec, layout, data_dir(), torch.device("cpu"))  # nothing is computed here
        is_preset = case.id == spec.name and not spec.template
        if not is_preset and case.record is None:
            case.register(Status.registered)
        keys.append(case.id)
    instance.add_dynamic_partitions(str(CASES.name), list(dict.fromkeys(keys)))  # it refuses a key given twice
    return keys
