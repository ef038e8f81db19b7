"""The schedule and the sensors that make and run the cases of templates."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime

import dagster as dg

from repair_pipeline.defs.assets.checks import ACCEPTED
from repair_pipeline.defs.jobs import base, repair
from repair_pipeline.defs.notices import notify
from repair_pipeline.defs.partitions import register_cases
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.nightly import Skip, Template, make_base, make_night, templates
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.registry import champion

_NO_TEMPLATE = "there is no template; to add one: repair nightly add FILE.yaml"


@dg.schedule(
    job=repair,
    cron_schedule=read_settings().nightly,
    description="Makes and runs a case of every template that has new failures, at the times of the setting nightly.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def nightly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Makes a case of every template that has new failures, at the times of the setting ``nightly``."""
    return _requests(context.instance, context.log, context.scheduled_execution_time.date())


@dg.sensor(
    job=repair,
    minimum_interval_seconds=30,
    description="Makes and runs a case of every template as soon as enough failures are reported.",
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def new_failures(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Makes a case of every template as soon as enough failures are reported."""
    return _requests(context.instance, context.log, datetime.now(UTC).date())


@dg.sensor(
    job=base,
    minimum_interval_seconds=60,
    description="Prepares data, base model and Fisher of a template's new champion, before failures are reported.",
    default_status=dg.DefaultSensorStatus.STOPPED,
)
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


@dg.run_failure_sensor(
    description="Tells of every run that failed: a line in notices.log, passed on as the settings notify say.",
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def run_failed(context: dg.RunFailureSensorContext) -> None:
    """Adds a line to ``notices.log``, and passes it on as the settings ``notify`` and ``notify_urls`` say."""
    faults = [check for check in _failed_checks(context) if check.blocking]
    reasons = [f"{check.check_name}: {check.description}" for check in faults]
    reasons = reasons or [_raised(event) for event in context.get_step_failure_events()]
    _tell(context, "; ".join(reasons) or str(context.failure_event.message))


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    description="Tells of every repair that the gate does not accept, in the same way. Its run has succeeded.",
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def not_accepted(context: dg.RunStatusSensorContext) -> None:
    """Adds a line to ``notices.log`` as ``run_failed`` does, where the gate's check is a warning."""
    for check in _failed_checks(context):
        if check.check_name == ACCEPTED:
            _tell(context, f"not accepted: {check.description}")


def _tell(context: dg.RunStatusSensorContext, what: str) -> None:
    run = context.dagster_run
    notify(Layout.current(), f"{run.tags.get('dagster/partition', run.job_name)}: {what} (run {run.run_id})")


def _failed_checks(context: dg.RunStatusSensorContext) -> list[dg.AssetCheckEvaluation]:
    entries = context.instance.all_logs(context.dagster_run.run_id, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    checks = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
    return [check for check in checks if not check.passed]


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
            requests.append(_request(template, key))
    return requests or dg.SkipReason("; ".join(reasons) or _NO_TEMPLATE)


def _request(template: Template, key: str) -> dg.RunRequest:
    return dg.RunRequest(run_key=key, partition_key=key, tags={"repair.template": template.name})
