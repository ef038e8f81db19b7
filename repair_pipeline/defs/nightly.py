"""The schedule and the sensors that make and run the cases of templates."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime

import dagster as dg
import torch

from repair_pipeline.defs.jobs import base, repair
from repair_pipeline.defs.notices import notify
from repair_pipeline.defs.partitions import register_cases
from repair_pipeline.defs.resources import Store
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.nightly import Skip, Template, make_base, make_night, templates
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.registry import champion

_NO_TEMPLATE = "there is no template; to add one: repair nightly add FILE.yaml"


@dg.schedule(
    job=repair,
    cron_schedule=read_settings().nightly,
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Makes a case of every template that has new failures, at the times of the setting ``nightly``."""
    return _requests(context.instance, context.log, context.scheduled_execution_time.date())


@dg.sensor(job=repair, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.STOPPED)
def new_failures(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Makes a case of every template as soon as enough failures are reported."""
    return _requests(context.instance, context.log, datetime.now(UTC).date())


@dg.sensor(job=base, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def new_champion(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Computes Fisher and log p(z|θ̂) of a template's new champion, before failures are reported."""
    layout, seen, requests = Layout.current(), json.loads(context.cursor or "{}"), list[dg.RunRequest]()
    for template in templates(layout):
        version = champion(layout, template.name)
        if version is None or seen.get(template.name) == version.number:
            continue
        seen[template.name] = version.number
        [key] = register_cases(context.instance, layout, [make_base(layout, template, version)])
        requests.append(_request(template, key))
    reason = None if requests else "no template has a new champion"
    return dg.SensorResult(requests, skip_reason=reason, cursor=json.dumps(seen))


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.STOPPED)
def run_failed(context: dg.RunFailureSensorContext) -> None:
    """Adds a line to ``notices.log``, and passes it to the command of the setting ``notify``."""
    run, failed = context.dagster_run, context.get_step_failure_events()
    case = run.tags.get("dagster/partition", run.job_name)
    reasons = _failed_checks(context) or [_raised(event) for event in failed] or [str(context.failure_event.message)]
    notify(Layout.current(), f"{case}: {'; '.join(reasons)} (run {run.run_id})")


def _failed_checks(context: dg.RunFailureSensorContext) -> list[str]:
    """Name and description of every blocking check that did not pass, the gate's among them."""
    entries = context.instance.all_logs(context.dagster_run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
    return [f"{check.check_name}: {check.description}" for check in checks if check.blocking and not check.passed]


def _raised(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error and error.cause:  # Dagster wraps the original exception
        error = error.cause
    return f"{event.step_key} failed: {' '.join(error.message.split()) if error else event.message}"


def _requests(instance: dg.DagsterInstance, log: logging.Logger, day: date) -> list[dg.RunRequest] | dg.SkipReason:
    layout, requests, reasons = Layout.current(), list[dg.RunRequest](), list[str]()
    for template in templates(layout):
        try:
            spec = make_night(layout, template, day)
        except InputError as error:  # an invalid template must not stop the others
            spec = Skip(f"{template.name}: {error}")
        if isinstance(spec, Skip):
            log.info(spec.reason)
            reasons.append(spec.reason)
        else:
            [key] = register_cases(instance, layout, [spec])
            requests.append(_request(template, key, assets_of(key)))
    return requests or dg.SkipReason("; ".join(reasons) or _NO_TEMPLATE)


def _request(template: Template, key: str, assets: Sequence[dg.AssetKey] | None = None) -> dg.RunRequest:
    tags = {"repair.template": template.name}
    return dg.RunRequest(run_key=key, partition_key=key, tags=tags, asset_selection=assets)


def assets_of(key: str) -> list[dg.AssetKey]:
    """The assets that a case names; all others would be skipped in its run.

    Whether ``gate_controls`` and ``candidate`` run depends on the results, so they are always included.
    """
    case, conditional = Store().case(key, torch.device("cpu")), ("gate_controls", "candidate")
    return [dg.AssetKey(step.name) for step in STEPS if step.files(case) or step.name in conditional]
