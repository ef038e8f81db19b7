"""The switches of the schedule and the sensors, as Dagster's pages have them too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.remote_representation.external import RemoteRepository
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.schedules import is_valid_cron_schedule

from repair_pipeline.defs.partitions import dagster_instance
from repair_pipeline.errors import InputError
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout

WORKSPACE = Path(__file__).parents[1] / "workspace.yaml"
"""Part of the package, so that it is where no checkout is. The one at the top of a checkout says the same."""
_BY_NIGHT, _AS_THEY_COME = ("nightly", "new_champion", "run_failed"), ("new_failures",)


def switch(layout: Layout, on: bool, watch: bool) -> list[str]:
    """Switch all that runs by night; off: also what runs as failures come, on: that too under ``watch``.

    Returns their names. They run while a daemon does.

    Raises:
        InputError: Dagster does not understand the setting ``nightly``.
    """
    require_cron_line(read_settings().nightly)
    names = [*_BY_NIGHT, *(_AS_THEY_COME if watch or not on else ())]
    with dagster_instance(layout) as instance, repository(instance) as served:
        schedules = {schedule.name: schedule for schedule in served.get_schedules()}
        sensors = {sensor.name: sensor for sensor in served.get_sensors()}
        for name in names:
            if name in schedules and on:
                instance.start_schedule(schedules[name])
            elif name in schedules:
                schedule = schedules[name]
                instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)
            elif on:
                instance.start_sensor(sensors[name])
            else:
                sensor = sensors[name]
                instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
    return names


def require_cron_line(text: str) -> None:
    """Refuse what Dagster does not understand, before it is loaded: there it would be a traceback.

    Raises:
        InputError: the setting ``nightly`` is no such line.
    """
    if not is_valid_cron_schedule(text):
        raise InputError(
            f"the setting nightly cannot be {text!r}: Dagster knows no such time; 0 2 * * * is each night at 2"
        )


def switched_on(layout: Layout) -> list[str]:
    """The names of those that are on."""
    with dagster_instance(layout) as instance:
        states = instance.all_instigator_state(instigator_statuses={InstigatorStatus.RUNNING})
    return sorted(state.name for state in states)


@contextmanager
def repository(instance: dg.DagsterInstance) -> Iterator[RemoteRepository]:
    """What the workspace serves, as the pages know it; Dagster's own commands find it in this way."""
    with WorkspaceProcessContext(
        instance, WorkspaceFileTarget([str(WORKSPACE)]), code_server_log_level="ERROR"
    ) as process:
        [location] = process.create_request_context().code_locations
        [repository] = location.get_repositories().values()
        yield repository
