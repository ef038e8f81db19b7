"""The schedule, the sensors, switching them, and notices of failed runs."""

import sqlite3
from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import time_machine
import torch

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.defs import nightly as defs_nightly
from repair_pipeline.defs import switches
from repair_pipeline.defs.assets.checks import ACCEPTED
from repair_pipeline.defs.nightly import new_champion, new_failures, nightly, not_accepted, run_failed
from repair_pipeline.defs.partitions import CASES, dagster_instance
from repair_pipeline.defs.retention import clean_up, nightly_clean_up
from repair_pipeline.defs.switches import switch, switched_on
from repair_pipeline.pipeline import nightly as pipeline
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.nightly import add_template
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.registry import Version
from repair_pipeline_tests.defs.conftest import ROOT
from repair_pipeline_tests.pipeline.test_nightly import WARDS, report
from repair_pipeline_tests.wards import write_tables

NIGHT = datetime(2026, 11, 25, 2, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    write_tables(tmp_path)
    (tmp_path / "incoming").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(pipeline, "champion", lambda *args: None)
    return Layout(tmp_path / "home")


@pytest.fixture
def instance(layout: Layout):
    with dagster_instance(layout) as instance:
        yield instance


def tick(instance: dg.DagsterInstance) -> list[dg.RunRequest] | dg.SkipReason:
    return nightly(dg.build_schedule_context(instance, scheduled_execution_time=NIGHT))


def test_everything_is_off_until_it_is_switched_on() -> None:
    assert nightly.default_status == dg.DefaultScheduleStatus.STOPPED
    assert nightly_clean_up.default_status == dg.DefaultScheduleStatus.STOPPED
    for sensor in (new_failures, new_champion, run_failed, not_accepted):
        assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_a_tick_makes_one_case_and_otherwise_gives_the_reason(instance: dg.DagsterInstance, layout: Layout) -> None:
    assert "no template" in str(tick(instance))
    add_template(layout, parse_spec(WARDS), Path.cwd())
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "no failure is reported" in str(skipped.skip_message)
    report("monday.csv", *range(8))
    [request] = tick(instance)
    assert (request.partition_key, request.run_key) == ("wards-20261125", "wards-20261125")
    assert instance.get_dynamic_partitions(str(CASES.name)) == ["wards-20261125"]
    [row] = query(layout, "SELECT case_id, status FROM cases").to_pylist()
    assert row == {"case_id": "wards-20261125", "status": "registered"}
    assert isinstance(tick(instance), dg.SkipReason)


def test_an_invalid_template_does_not_stop_the_others(instance: dg.DagsterInstance, layout: Layout) -> None:
    add_template(layout, parse_spec(WARDS), Path.cwd())
    (Path.cwd() / "odd").mkdir()
    add_template(layout, parse_spec(WARDS | {"name": "odd", "nightly": {"failures": "odd"}}), Path.cwd())
    pd.DataFrame({"x": [1.0]}).to_csv("odd/report.csv", index=False)
    report("monday.csv", *range(8))
    [request] = tick(instance)
    assert request.partition_key == "wards-20261125"
    assert "odd: " in str(tick(instance).skip_message)


def test_the_sensor_does_not_wait_for_the_schedule(instance: dg.DagsterInstance, layout: Layout) -> None:
    add_template(layout, parse_spec(WARDS), Path.cwd())
    context = dg.build_sensor_context(instance)
    assert isinstance(new_failures(context), dg.SkipReason)
    report("now.csv", *range(8))
    [request] = new_failures(context)
    assert request.partition_key == f"wards-{datetime.now(UTC):%Y%m%d}"
    assert request.tags["repair.template"] == "wards"


def test_the_base_of_a_new_champion_is_made_once(
    instance: dg.DagsterInstance, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_template(layout, parse_spec(WARDS), Path.cwd())
    monkeypatch.setattr(defs_nightly, "champion", lambda *args: Version(3, None))
    first = new_champion(dg.build_sensor_context(instance))
    assert [request.partition_key for request in first.run_requests] == ["wards-v3"]
    again = new_champion(dg.build_sensor_context(instance, cursor=first.cursor))
    assert not again.run_requests
    monkeypatch.setattr(defs_nightly, "champion", lambda *args: Version(4, None))
    later = new_champion(dg.build_sensor_context(instance, cursor=first.cursor))
    assert [request.partition_key for request in later.run_requests] == ["wards-v4"]


def test_a_failed_run_is_noted_and_passed_to_the_notify_command(
    instance: dg.DagsterInstance, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.op
    def breaks() -> None:
        raise ZeroDivisionError("no Fisher today")

    @dg.job
    def night() -> None:
        breaks()

    tags = {"dagster/partition": "wards-20261125"}
    result = night.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
    monkeypatch.setenv("REPAIR_NOTIFY", f"cat > {tmp_path / 'notice'}")
    run_failed(
        dg.build_run_status_sensor_context(
            sensor_name="run_failed",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
    )
    [line] = layout.notices.read_text().splitlines()
    assert "wards-20261125: breaks failed: ZeroDivisionError" in line
    assert "no Fisher today" in line
    assert (tmp_path / "notice").read_text().strip() == line


@pytest.mark.parametrize("passed", [True, False])
def test_a_repair_that_is_not_accepted_is_noted_though_its_run_succeeded(
    instance: dg.DagsterInstance, layout: Layout, passed: bool
) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="verdict") for name in (ACCEPTED, "another")])
    def verdict() -> dg.MaterializeResult:
        said = [
            dg.AssetCheckResult(check_name=name, passed=passed, severity=dg.AssetCheckSeverity.WARN, description=name)
            for name in (ACCEPTED, "another")
        ]
        return dg.MaterializeResult(check_results=said)

    result = dg.materialize([verdict], instance=instance, tags={"dagster/partition": "wards-20261125"})
    not_accepted(
        dg.build_run_status_sensor_context(
            sensor_name="not_accepted",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_success_event(),
        )
    )
    lines = layout.notices.read_text().splitlines() if layout.notices.exists() else []
    said = f"wards-20261125: not accepted: {ACCEPTED} (run {result.run_id})"
    assert [line.split(" ", 2)[2] for line in lines] == ([] if passed else [said])


def test_one_command_switches_schedule_and_sensors(
    instance: dg.DagsterInstance, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert switched_on(layout) == []
    with switches.repository(instance) as served:  # starting its server takes longer than the rest of the test
        monkeypatch.setattr(switches, "repository", lambda instance: nullcontext(served))
        switch(layout, on=True, watch=False, clean_up=False)
        assert switched_on(layout) == ["new_champion", "nightly", "not_accepted", "run_failed"]
        switch(layout, on=True, watch=True, clean_up=True)
        everything = ["new_champion", "new_failures", "nightly", "nightly_clean_up", "not_accepted", "run_failed"]
        assert switched_on(layout) == everything
        switch(layout, on=False, watch=False, clean_up=False)
        assert switched_on(layout) == []


def test_the_clean_up_deletes_what_dagster_keeps_of_cases_that_hold_nothing(
    instance: dg.DagsterInstance, layout: Layout
) -> None:
    keys = ["wards-old", "wards-new"]
    instance.add_dynamic_partitions(str(CASES.name), keys)
    for key, age in zip(keys, (60, 40), strict=True):
        spec = replace(parse_spec(WARDS), name=key, template="wards", folder=str(Path.cwd()))
        with time_machine.travel(datetime.now(UTC) - timedelta(days=age)):
            Case(spec, layout, Path("no-data"), torch.device("cpu")).register("finished")
        file = layout.influence(key, "loss")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"1")
        with time_machine.travel(datetime.now(UTC) - timedelta(days=age)):
            clean_up.execute_in_process(instance=instance, tags={"dagster/partition": key})  # any run of the case
    _age_runs(layout, 40)
    done = clean_up.execute_in_process(instance=instance)
    assert done.success
    assert query(layout, "SELECT case_id, status FROM cases ORDER BY 1").to_pylist() == [
        {"case_id": "wards-new", "status": "finished"},
        {"case_id": "wards-old", "status": "cleared"},
    ]
    assert instance.get_dynamic_partitions(str(CASES.name)) == ["wards-new"]
    assert [run.tags.get("dagster/partition") for run in instance.get_runs()] == [None, "wards-new"]


def _age_runs(layout: Layout, days: int) -> None:
    """Dagster's database stamps runs by its own clock."""
    with closing(sqlite3.connect(layout.dagster_home / "history" / "runs.db")) as runs:
        runs.execute(f"UPDATE runs SET create_timestamp = datetime(create_timestamp, '-{days} days')")
        runs.commit()
