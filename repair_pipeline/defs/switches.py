"""Switching the schedule and the sensors on and off, as on Dagster's page Automation."""

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
"""Part of the package, so that it exists without a checkout. The one in the checkout's top folder is equivalent."""
_DEFAULT = ("nightly", "new_champion", "run_failed", "not_accepted")
_WATCH, _CLEAN_UP = "new_failures", "nightly_clean_up"


def switch(layout: Layout, on: bool, watch: bool, clean_up: bool) -> list[str]:
    """Switch the schedule and the sensors on or off. They run only while Dagster's daemon does.

    Args:
        layout: the store whose instance is switched.
        on: on or off; off is for all of them.
        watch: whether on includes the sensor of new failures.
        clean_up: whether on includes the schedule that clears old cases.

    Returns:
        The names of those that were switched.

    Raises:
        InputError: the setting ``nightly`` is not a valid cron expression.
    """
    require_cron_line(read_settings().nightly)
    names = [*_DEFAULT, *([_WATCH] if watch or not on else []), *([_CLEAN_UP] if clean_up or not on else [])]
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
    """Refuse an invalid cron expression, before Dagster raises a traceback for it.

    Raises:
        InputError: the setting ``nightly`` is not a valid cron expression.
    """
    if not is_valid_cron_schedule(text):
        raise InputError(
            f"the setting nightly cannot be {text!r}: it is not a cron expression; 0 2 * * * is every night at 2"
        )


def switched_on(layout: Layout) -> list[str]:
    """The names of the schedule and the sensors that are on."""
    with dagster_instance(layout) as instance:
        states = instance.all_instigator_state(instigator_statuses={InstigatorStatus.RUNNING})
    return sorted(state.name for state in states)


@contextmanager
def repository(instance: dg.DagsterInstance) -> Iterator[RemoteRepository]:
    """The repository that the workspace serves, loaded as Dagster's own commands load it."""
    with WorkspaceProcessContext(
        instance, WorkspaceFileTarget([str(WORKSPACE)]), code_server_log_level="ERROR"
    ) as process:
        [location] = process.create_request_context().code_locations
        [repository] = location.get_repositories().values()
        yield repository
