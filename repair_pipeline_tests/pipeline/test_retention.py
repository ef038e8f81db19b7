"""What ``repair gc`` removes, and what it keeps and why; cases without a model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
import torch
from mlflow import MlflowClient

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline import retention
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.nightly import Skip
from repair_pipeline.pipeline.retention import KEPT, holdings, remove
from repair_pipeline.storage import locks
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import in_use, unused
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline.tracking.runs import CASE_TAG
from repair_pipeline.tracking.store import open_store, using
from repair_pipeline_tests.pipeline import test_nightly
from repair_pipeline_tests.pipeline.test_nightly import DAY, WARDS, night, report

layout = test_nightly.layout  # a template's folder
DAYS = 7
START = datetime(2027, 1, 1, tzinfo=UTC)
FOLDERS = ("influence", "models", "reports", "examples", "patch", "verdicts", "patches", "holdout_reads")


def stored(layout: Layout, name: str, age: int, status: str = "finished", **fields: object) -> str:
    """A case of the owner's that was registered ``age`` days before START, with a file in each folder."""
    spec = replace(parse_spec(WARDS), name=name, **{"folder": str(layout.home.parent), **fields})
    case = Case(spec, layout, Path("no-data"), torch.device("cpu"))
    with time_machine.travel(START - timedelta(days=age), tick=False):
        case.register(status)
    for folder in FOLDERS:
        file = layout.results / folder / f"case_id={case.id}" / "file.bin"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"12345")
    base = layout.base(spec.base_id, "fisher_diagonal.safetensors")
    base.parent.mkdir(parents=True, exist_ok=True)
    base.write_bytes(b"123")
    return case.id


def folders(layout: Layout, case_id: str) -> set[str]:
    return {path.parent.name for path in layout.results.glob(f"*/case_id={case_id}")}


def kept(layout: Layout) -> dict[str, str | None]:
    return {each.case_id: each.kept for each in holdings(layout, START, DAYS)}


def status(layout: Layout, case_id: str) -> str:
    return query(layout, f"SELECT status FROM cases WHERE case_id = '{case_id}'")["status"][0].as_py()


def test_an_old_case_loses_scores_weights_and_pages_and_keeps_what_was_decided(layout: Layout) -> None:
    old, latest = stored(layout, "wards", 9), stored(layout, "wards", 8, seed=1)
    assert kept(layout) == {old: None, latest: "it is the latest case of wards"}
    removed = remove(layout, START, DAYS)
    assert (removed.cases, removed.in_use, removed.runs) == ((old,), (), 0)
    assert folders(layout, old) == {name for name in (*FOLDERS, "cases") if name in KEPT}
    assert folders(layout, latest) == {*FOLDERS, "cases"}
    assert removed.bytes == 5 * len(set(FOLDERS) - set(KEPT)) + 3 * removed.bases
    assert (status(layout, old), status(layout, latest)) == ("cleared", "finished")
    assert remove(layout, START, DAYS).cases == ()


def test_each_reason_to_keep_a_case(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    young = stored(layout, "wards", 6)
    running = stored(layout, "wards", 30, "running", seed=1)
    study = stored(layout, "wards", 30, seed=2, folder=None)
    waiting = stored(layout, "wards", 30, seed=3)
    champion = stored(layout, "wards", 30, seed=4)
    elsewhere = stored(layout, "wards", 30, seed=5, folder="/another/folder")
    applied = stored(layout, "wards", 30, seed=6)
    monkeypatch.setattr(
        retention, "standing_cases", lambda layout: {champion: "version 2 of wards, the champion, is of it"}
    )
    for key in (waiting, applied):
        decided = {"example_id": "1-1", "decision": "drop", "who": "", "decided_at": START, "note": ""}
        save_rows(layout.table("decisions", key), "decisions", [decided | {"label": None}], notes={})
    done = {"failure_group": None, "example_id": "1-1", "decision": "drop", "label": None, "source": "review"}
    save_rows(layout.table("applied", applied), "applied", [done | {"reviewer": None, "decided_at": START}], notes={})
    assert kept(layout) == {
        young: "it is less than 7 days old",
        running: f"it is running; if its process was killed: repair run {running}",
        study: "it is of a study or of the examples, and not of your own data",
        waiting: "decisions of a person wait to be applied",
        champion: "version 2 of wards, the champion, is of it",
        elsewhere: "it is the latest case of wards",
        applied: None,
    }
    assert remove(layout, START, DAYS).cases == (applied,)


def test_a_case_in_use_is_left_alone(layout: Layout) -> None:
    old, _ = stored(layout, "wards", 9), stored(layout, "wards", 8, seed=1)
    with in_use(layout.table("cases", old).parent), in_use(layout.table("cases", old).parent):  # as many as like
        removed = remove(layout, START, DAYS)
    assert (removed.cases, removed.in_use) == ((), (old,))
    assert folders(layout, old) == {*FOLDERS, "cases"}
    with unused(layout.table("cases", old).parent) as alone:
        assert alone
    assert remove(layout, START, DAYS).cases == (old,)


def test_without_locks_nothing_is_removed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _ = stored(layout, "wards", 9), stored(layout, "wards", 8, seed=1)

    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with in_use(layout.table("cases", old).parent):
        pass  # a run goes on
    with pytest.raises(InputError, match="nothing is removed: use a local disk"):
        remove(layout, START, DAYS)
    assert folders(layout, old) == {*FOLDERS, "cases"}


def test_a_process_that_was_killed_in_the_middle_is_finished_by_the_next(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = stored(layout, "wards", 9), stored(layout, "wards", 8, seed=1)
    real, seen = retention.shutil.rmtree, []

    def killed(folder: Path) -> None:
        if seen:
            raise SystemExit
        seen.append(folder)
        real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(retention.shutil, "rmtree", killed)
        with pytest.raises(SystemExit):
            remove(layout, START, DAYS)
    assert status(layout, old) == "cleared"
    assert remove(layout, START, DAYS).cases == (old,)
    assert folders(layout, old) == {name for name in (*FOLDERS, "cases") if name in KEPT}


def test_failures_of_a_cleared_night_stay_taken_and_those_of_a_failed_one_wait(layout: Layout) -> None:
    report("monday.csv", *range(8))
    with time_machine.travel(START - timedelta(days=20)):
        first = night(layout)
    report("tuesday.csv", *range(8, 16))
    with time_machine.travel(START - timedelta(days=19)):
        second = night(layout, DAY + timedelta(days=1), "failed")
    stored(layout, "wards", 18)
    for spec in (first, second):
        file = layout.influence(spec.name, "loss")
        file.parent.mkdir(parents=True)
        file.touch()
        file.write_bytes(b"1")
    assert remove(layout, START, DAYS).cases == (first.name, second.name)
    assert (status(layout, first.name), status(layout, second.name)) == ("cleared", "failed")
    report("wednesday.csv", 16)
    third = night(layout, DAY + timedelta(days=3))
    assert not isinstance(third, Skip)
    assert set(test_nightly.failures(third)) == {f"2-{at}" for at in range(8, 17)}


def test_a_base_goes_with_the_last_case_that_needs_it_and_not_while_it_is_new(layout: Layout) -> None:
    shared = stored(layout, "wards", 10), stored(layout, "wards", 9, query_fraction=0.5)
    [base] = (layout.results / "bases").iterdir()
    assert remove(layout, START, DAYS).cases == (shared[0],)
    assert base.exists()  # the other one needs it
    stored(layout, "wards", 1, seed=4)
    with in_use(base):
        removed = remove(layout, START, DAYS)
    assert (removed.cases, removed.bases, base.exists()) == ((shared[1],), 0, True)
    written = datetime.fromtimestamp(base.stat().st_mtime, tz=UTC)
    assert retention.unused_bases(layout, written + timedelta(days=DAYS - 1), DAYS) == []
    assert retention.unused_bases(layout, written + timedelta(days=DAYS + 1), DAYS) == [base]
    removed = remove(layout, START, DAYS)
    assert (removed.bases, removed.bytes, base.exists()) == (1, 3, False)


def test_mlflow_loses_the_runs_and_models_of_a_case_but_no_version_with_a_standing(layout: Layout) -> None:
    old, latest = stored(layout, "wards", 9), stored(layout, "wards", 8, seed=1)
    with using(layout) as client:
        runs = {key: [_run(client, layout, key) for _ in range(2)] for key in (old, latest)}
        client.create_registered_model("wards")
        models = [_version(client, runs[old][0], old) for _ in range(3)]
        newest = _version(client, runs[latest][0], latest)
        client.set_registered_model_alias("wards", "candidate", 4)
        client.set_registered_model_tag("wards", "repair.former_champions", "[2]")
    artifacts = layout.mlflow / "artifacts"
    assert remove(layout, START, DAYS).runs == 2
    client = open_store(layout)
    left = client.search_runs(["1"], run_view_type=3)
    assert {run.info.run_id for run in left} == set(runs[latest])
    assert {run.parent.name for run in artifacts.glob("*/artifacts")} == set(runs[latest])
    assert sorted(int(each.version) for each in client.search_model_versions("name = 'wards'")) == [2, 4]
    there = {model.model_id for model in client.search_logged_models(["1"])}
    assert there == {models[1], newest}


def _run(client: MlflowClient, layout: Layout, case_id: str) -> str:
    found = client.get_experiment_by_name("repairs")
    place = (layout.mlflow / "artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment("repairs", artifact_location=place)
    run = client.create_run(experiment, tags={CASE_TAG: case_id})
    client.log_text(run.info.run_id, "said", "report.html")
    return run.info.run_id


def _version(client: MlflowClient, run_id: str, case_id: str) -> str:
    model = client.create_logged_model("1", source_run_id=run_id)
    client.finalize_logged_model(model.model_id, "READY")
    client.create_model_version(
        "wards", f"models:/{model.model_id}", run_id, tags={CASE_TAG: case_id}, model_id=model.model_id
    )
    return model.model_id
