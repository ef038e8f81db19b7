"""Dagster's instance, and cases as partition keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import dagster as dg
import torch

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.status import Status
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import aside, clear_aside, write_text
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.locks import locked
from repair_pipeline.storage.room import unwritable

CASES = dg.DynamicPartitionsDefinition(name="case")
"""One key per case, so that lineage, backfills and schedules work per case."""

_SETTINGS = """\
# Written once; you can edit it.
telemetry:
  enabled: false
nux:
  enabled: false
freshness:
  enabled: true
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false  # steps have their own retries; this is for runs that were killed
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
concurrency:
  pools:
    default_limit: 1  # one heavy step at a time: there is one GPU
    granularity: op
"""


def dagster_instance(layout: Layout) -> dg.DagsterInstance:
    """Dagster's instance; creates its home if there is none, while other processes wait.

    Raises:
        InputError: the owner's ``dagster.yaml`` cannot be used, or the storage that it names does not answer.
    """
    layout.dagster_home.mkdir(parents=True, exist_ok=True)
    home = addressable(layout.dagster_home)
    with locked(layout.dagster_home / ".dagster.lock", layout.dagster_home):
        if not (home / "dagster.yaml").exists():
            _make_home(home)
        try:
            return dg.DagsterInstance.from_config(str(home))
        except Exception as error:  # whatever the storage's own driver raises
            if unwritable(error):
                raise
            raise InputError(
                f"Dagster cannot be used as {home / 'dagster.yaml'} says: {_reason(error)}; mend that file, or "
                "start what it names"
            ) from error


def _reason(error: BaseException) -> str:
    """What an error was first raised for, on one line."""
    if isinstance(error, dg.DagsterInvalidConfigError) and error.errors:
        first = error.errors[0]  # its message holds a stack trace where a value could not be looked up
        return one_line(getattr(first.error_data, "message", first.message))
    return one_line(error) if error.__cause__ is None else _reason(error.__cause__)


def _make_home(home: Path) -> None:
    """Make the databases aside and move them into place, and write the settings last.

    Dagster does not build the indexes of a database that a killed process has left half made.
    """
    clear_aside(home)
    with aside(home) as folder:
        write_text(folder / "dagster.yaml", _SETTINGS)
        with dg.DagsterInstance.from_config(str(folder)):
            pass
        for made in sorted(folder.iterdir()):
            if made.is_dir() and not (home / made.name).exists():
                made.rename(home / made.name)
    write_text(home / "dagster.yaml", _SETTINGS)


def register_cases(instance: dg.DagsterInstance, layout: Layout, cases: Iterable[str | CaseSpec]) -> list[str]:
    """Register cases as partition keys.

    Args:
        instance: where to register them.
        layout: the store of the cases.
        cases: specs, or ids of presets or stored cases.

    Returns:
        The ids of the cases, in the same order.

    Raises:
        InputError: an id is neither that of a preset nor that of a stored case.
    """
    keys = []
    for given in cases:
        if isinstance(given, str) and layout.table("cases", given).is_file():
            keys.append(given)  # also where its spec cannot be read, because a plugin of it has gone
            continue
        spec = stored_spec(layout, given) if isinstance(given, str) else given
        case = Case(spec, layout, data_dir(), torch.device("cpu"))  # nothing is computed here
        is_preset = case.id == spec.name and not spec.template
        if not is_preset and case.record is None:
            case.register(Status.registered)
        keys.append(case.id)
    instance.add_dynamic_partitions(str(CASES.name), list(dict.fromkeys(keys)))  # it refuses duplicate keys
    return keys
