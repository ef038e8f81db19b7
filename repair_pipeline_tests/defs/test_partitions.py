"""Cases as partition keys, Dagster's home, and stuck pool slots."""

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.storage.event_log.migration import ASSET_KEY_INDEX_COLS
from dagster._core.storage.runs.migration import RUN_PARTITIONS
from dagster._core.test_utils import create_run_for_test

from repair_pipeline.cases.presets import preset
from repair_pipeline.defs.partitions import CASES, dagster_instance, register_cases
from repair_pipeline.defs.slots import free_slots, stuck_slots
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import stored_cases
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.store import open_store
from repair_pipeline_tests.defs.conftest import PRESET, TINY
from repair_pipeline_tests.racing import killed, killed_at_statement, outcomes


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def instance(layout: Layout):
    with dagster_instance(layout) as instance:
        yield instance


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("storage: [1", "while parsing a flow sequence"),
        ("storage: {postgres: {nonsense: 1}}", 'Received unexpected config entry "nonsense"'),
        ("storage: {sqlite: {base_dir: {env: NO_SUCH_NAME}}}", 'environment variable "NO_SUCH_NAME" which is not set'),
        ("storage: {custom: {module: no_such_module, class: Any}}", "no_such_module"),
    ],
)
def test_an_unusable_dagster_yaml_is_one_line(text: str, reason: str, layout: Layout) -> None:
    layout.dagster_home.mkdir()
    file = layout.dagster_home / "dagster.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match="Dagster cannot be used as") as refused:
        dagster_instance(layout)
    assert reason in str(refused.value)
    assert str(file) in str(refused.value)
    assert file.read_text() == text


def test_presets_and_case_files_become_keys_and_only_the_latter_a_row(
    instance: dg.DagsterInstance, layout: Layout
) -> None:
    keys = register_cases(instance, layout, [PRESET, preset(PRESET), TINY])
    assert keys[:2] == [PRESET, PRESET]
    assert set(instance.get_dynamic_partitions(str(CASES.name))) == set(keys)
    rows = query(layout, "SELECT case_id, status FROM cases").to_pylist()
    assert rows == [{"case_id": keys[2], "status": "registered"}]
    assert register_cases(instance, layout, [keys[2]]) == [keys[2]]


def test_stored_cases_stay_keys_though_one_of_them_cannot_be_read(instance: dg.DagsterInstance, layout: Layout) -> None:
    [key] = register_cases(instance, layout, [TINY])
    layout.table("cases", key).write_bytes(b"")
    assert stored_cases(layout) == [key]
    assert register_cases(instance, layout, stored_cases(layout)) == [key]


def test_an_unknown_case_is_refused_and_nothing_is_registered(instance: dg.DagsterInstance, layout: Layout) -> None:
    with pytest.raises(InputError, match="no-such-case"):
        register_cases(instance, layout, [PRESET, "no-such-case"])
    assert instance.get_dynamic_partitions(str(CASES.name)) == []


def test_the_home_sends_no_telemetry_and_keeps_edited_settings(layout: Layout) -> None:
    with dagster_instance(layout) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.global_op_concurrency_default_limit == 1
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60
    settings = layout.dagster_home / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    with dagster_instance(layout):
        assert settings.read_text() == "telemetry: {enabled: false}\n"


def test_the_slot_of_a_run_that_is_gone_is_listed_and_freed(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("gpu", 2)
    storage.claim_concurrency_slot("gpu", "gone", "base_model")
    living = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event("at work", living, EngineEventData.in_process(os.getpid()))
    storage.claim_concurrency_slot("gpu", living.run_id, "influence_ewc")
    assert stuck_slots(instance) == {"gone": ["base_model"]}
    free_slots(instance, "gone")
    assert stuck_slots(instance) == {}
    [slot] = storage.get_concurrency_info("gpu").claimed_slots
    assert slot.run_id == living.run_id


@pytest.mark.parametrize("number", [1, 40, 80])
def test_dagsters_home_is_whole_or_absent_if_its_first_use_is_killed(tmp_path: Path, number: int) -> None:
    layout = Layout(tmp_path)
    assert killed(killed_at_statement, number, dagster_instance, layout)
    assert [path.name[:7] for path in layout.dagster_home.iterdir() if path.name != ".dagster.lock"] == [".making"]
    with dagster_instance(layout) as instance:
        assert instance.event_log_storage.has_secondary_index(ASSET_KEY_INDEX_COLS)
        assert instance.run_storage.has_built_index(RUN_PARTITIONS)
    names = {path.name for path in layout.dagster_home.iterdir()}
    assert {"dagster.yaml", "history", "schedules"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_simultaneous_first_runs_create_the_databases_once(tmp_path: Path) -> None:
    assert outcomes(_first_run, Layout(tmp_path), 2) == [None] * 2
    assert not list(tmp_path.rglob("*.lock"))


def _first_run(layout: Layout) -> None:
    open_store(layout).search_experiments()
    with dagster_instance(layout) as instance:
        register_cases(instance, layout, [PRESET])


@pytest.mark.parametrize("name", ["feature%2Flabels", "what?", "it's [x] * # ; & + : = é"])
def test_the_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    layout = Layout(tmp_path / name)
    for _ in range(2):
        with dagster_instance(layout) as instance:
            register_cases(instance, layout, [PRESET])
            assert instance.get_dynamic_partitions(str(CASES.name)) == [PRESET]
    assert (layout.dagster_home / "history" / "runs.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
