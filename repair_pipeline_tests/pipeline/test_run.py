"""Running, resuming, failing."""

import errno
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation import partition as partitioning
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.pipeline import run as run_module
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.run import StepError
from repair_pipeline.pipeline.steps import STEPS, File
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.room import UnwritableError
from repair_pipeline.types import silent
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import everything, named, run

QUICK = with_settings(
    TINY, ["training.max_epochs=1", "influence={random: {}}", "treat=[random]", "treatments={base: {}}"]
)
UNUSABLE = with_settings(
    TINY, ["causes={top: 5000}", "influence={loss: {}}", "treat=[loss]", "treatments={finetune: {}}"]
)


def on_disk(case):
    return {path: path.stat().st_mtime_ns for path in case.layout.home.rglob("*") if path.is_file()}


def test_every_step_comes_after_what_it_needs():
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    for at, step in enumerate(STEPS):
        assert set(step.needs) <= set(names[:at])


def test_a_finished_case_has_all_its_files_and_says_so(case):
    assert all(file.path.exists() for step in STEPS for file in step.files(case))
    assert case.record["status"] == "finished"
    assert len(case.record["fingerprint"]) == 16


def test_running_a_finished_case_makes_nothing(case):
    before = everything(case)
    assert run(case).made == []
    assert everything(case) == before


def test_force_makes_everything_again_with_identical_values(tmp_path):
    case = case_at(tmp_path, QUICK)
    files = [path for step in STEPS for file in step.files(case) for path in (file.path, *file.beside)]
    assert run(case).made == files
    before = everything(case)
    assert run(case_at(tmp_path, QUICK), force=True).made == files
    assert everything(case) == before


def test_a_deleted_cell_is_made_again_the_same_and_with_it_only_what_depends_on_it(case):
    before = everything(case)
    case.layout.model(case.id, "random-finetune").unlink()
    assert named(case, run(case).made) == {
        "models/random-finetune.safetensors",
        "cross_harm/cross_harm.parquet",
        "recovery/recovery.parquet",
        "verdicts/verdicts.parquet",
        "timings/timings.parquet",
        "reports/report.html",
        "tracked_runs/run.json",
    }
    assert everything(case) == before


def test_deleted_scores_are_made_again_the_same_and_with_them_only_what_depends_on_them(case):
    before = everything(case)
    case.influence_path("loss").unlink()
    made = named(case, run(case).made)
    assert "influence/method=loss/influence.parquet" in made
    assert not any(name.startswith(("bases", "examples", "models")) for name in made)
    assert {name for name in made if name.startswith("influence")} == {"influence/method=loss/influence.parquet"}
    assert everything(case) == before


def test_a_missing_source_is_named(case):
    case.fisher_path.unlink()
    case.influence_path("ewc").unlink()
    (step,) = [step for step in STEPS if step.name == "influence_ewc"]
    with pytest.raises(Exception, match=r"influence_ewc needs .*fisher_diagonal.safetensors"):
        step.run(case)


def test_a_step_that_the_case_does_not_name_makes_nothing(case):
    for name in ("influence_margin", "repaired_reseed"):
        (step,) = [step for step in STEPS if step.name == name]
        assert step.run(case, force=True) == []


# Failing.


def broken(self, task):
    raise FloatingPointError("3 influence scores are not finite")


def test_a_failed_method_stops_no_other_and_the_next_run_makes_up_for_it(case, monkeypatch):
    before = everything(case)
    for cell in ("ewc-finetune", "ewc-ewc_deletion", "random-ewc_deletion"):
        case.layout.model(case.id, cell).unlink()
    case.influence_path("ewc").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(EWCInfluence, "scores", broken)
        outcome = run(case)
    assert set(outcome.failed) == {"influence_ewc", "repaired_finetune", "repaired_ewc_deletion"}
    assert case.record["status"] == "failed"
    # Of a treatment, the cells that need nothing of the failed method are made.
    assert "models/random-ewc_deletion.safetensors" in named(case, outcome.made)
    outcome = run(case)
    assert outcome.failed == {}
    assert {name for name in named(case, outcome.made) if name.startswith(("influence", "models"))} == {
        "influence/method=ewc/influence.parquet",
        "models/ewc-finetune.safetensors",
        "models/ewc-ewc_deletion.safetensors",
    }
    assert case.record["status"] == "finished"
    assert everything(case) == before


def test_the_evaluation_says_what_is_missing(case, monkeypatch):
    for cell in ("ewc-finetune", "ewc-ewc_deletion"):
        case.layout.model(case.id, cell).unlink()
    case.influence_path("ewc").unlink()
    monkeypatch.setattr(EWCInfluence, "scores", broken)
    run(case)
    recovery, recovery_notes = read_parquet(case.layout.table("recovery", case.id))
    detection, detection_notes = read_parquet(case.layout.table("detection", case.id))
    for notes in (recovery_notes, detection_notes):
        assert notes["missing"] == ["influence_ewc", "ewc-finetune", "ewc-ewc_deletion"]
    assert set(recovery["influence_method"].to_pylist()) == {"random", None}
    assert detection["method"].to_pylist() == ["ewc_paper", "loss", "random", "oracle"]


def test_a_method_that_fails_under_force_leaves_no_result_of_before(case, monkeypatch):
    monkeypatch.setattr(EWCInfluence, "scores", broken)
    (step,) = [step for step in STEPS if step.name == "influence_ewc"]
    with pytest.raises(Exception, match="not finite"):
        step.run(case, force=True, progress=silent)
    assert not case.influence_path("ewc").exists()


def test_a_failure_that_the_rest_needs_ends_the_run_and_keeps_what_was_finished(tmp_path, monkeypatch):
    case = case_at(tmp_path, QUICK)

    def diverged(*args, **kwargs):
        raise FloatingPointError("the Fisher diagonal is zero or not finite")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "fisher_diagonal", diverged)
        with pytest.raises(StepError, match="fisher_diagonal failed: the Fisher diagonal"):
            run(case)
    assert case.record["status"] == "failed"
    kept = on_disk(case)
    assert {case.dataset_path, case.base_model_path} <= kept.keys()
    made = run(case).made
    assert not {case.dataset_path, case.base_model_path} & set(made)
    assert case.record["status"] == "finished"


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fails", ["fisher_diagonal", "save_scores", "render_report"])
def test_a_full_disk_stops_the_run_in_one_line_and_keeps_what_is_finished(tmp_path, monkeypatch, fails):
    case = case_at(tmp_path, QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(steps, fails, full)
        with pytest.raises(UnwritableError, match=r"no room is left on the disk .* run the same command again"):
            run(case)
    assert case.record["status"] == "failed"
    assert case.base_model_path not in run(case_at(tmp_path, QUICK)).made
    assert case.record["status"] == "finished"


def test_a_disk_that_is_full_for_the_status_too_does_not_hide_why(tmp_path, monkeypatch):
    case = case_at(tmp_path, QUICK)
    monkeypatch.setattr(steps, "fisher_diagonal", full)
    monkeypatch.setattr(run_module, "note_failed", full)
    with pytest.raises(UnwritableError):
        run(case)


def test_partial_files_of_a_killed_run_are_removed_by_the_next(case):
    scores = case.influence_path("loss")
    scores.unlink()
    partial = scores.with_name(f".{scores.name}-a1b2c3d4")
    partial.write_text("half")
    run(case)
    assert scores.exists()
    assert not partial.exists()


# What cannot be used leaves nothing but a whole base, which the case can share once it is mended.


def left(home):
    return [path for path in home.rglob("*") if path.is_file() and "bases" not in path.parts]


@pytest.mark.parametrize(
    "setting", ["causes={top: 5000}", "corruption.confusion={11: {1: 1.0}}", "dataset.train_size=1796"]
)
def test_a_case_that_cannot_be_used_leaves_nothing(tmp_path, setting):
    spec = with_settings(QUICK, [setting, "treatments={finetune: {}, base: {}}"])
    with pytest.raises(InputError):
        run(case_at(tmp_path / "home", spec))
    assert left(tmp_path) == []


def test_too_few_failures_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(partitioning, "FEWEST_FAILURES", 10_000)
    with pytest.raises(InputError, match="10000 are needed"):
        run(case_at(tmp_path / "home", QUICK))
    assert left(tmp_path) == []


def test_a_case_that_cannot_be_used_leaves_what_others_made(case):
    before = on_disk(case)
    other = case_at(case.layout.home, UNUSABLE)
    assert other.spec.base_id == case.spec.base_id
    with pytest.raises(InputError, match=r"causes\.top is 5000"):
        run(other)
    assert on_disk(case) == before


def test_a_registered_case_that_cannot_be_used_leaves_its_record_and_says_that_it_failed(case):
    other = case_at(case.layout.home, UNUSABLE)
    other.register("registered")
    with pytest.raises(InputError, match=r"causes\.top is 5000"):
        run(other)
    assert other.record["status"] == "failed"


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The folder of temporary files, the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def test_two_runs_of_a_case_at_once_make_each_file_once(tmp_path, locks):
    cases = [case_at(tmp_path, QUICK) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(run, cases))
    made = [path for outcome in outcomes for path in outcome.made]
    assert sorted(made) == sorted(path for step in STEPS for f in step.files(cases[0]) for path in (f.path, *f.beside))
    assert [outcome.failed for outcome in outcomes] == [{}, {}]
    assert list(locks.rglob("*.lock")) == []


def test_a_run_that_waits_for_another_says_so(tmp_path, locks, caplog):
    file, entered, left = File(tmp_path / "new" / "table.parquet", (), lambda path, progress: None), Event(), Event()

    def hold():
        with file.locked():
            entered.set()
            left.wait(10)

    def release():
        for _ in range(500):
            if caplog.messages:
                break
            time.sleep(0.01)
        left.set()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(hold)
        entered.wait(10)
        pool.submit(release)
        with file.locked():
            assert left.is_set()
    assert caplog.messages == [f"waiting: another process makes {file.path}"]
    assert list(tmp_path.rglob("*.lock")) == []


def test_a_lock_that_somebody_removed_costs_no_result(tmp_path, locks):
    file = File(tmp_path / "table.parquet", (), lambda path, progress: None)
    with file.locked():
        shutil.rmtree(locks)
    locks.mkdir()
    with file.locked():
        assert len(list(locks.rglob("*.lock"))) == 1


def test_a_run_that_is_stopped_says_so_and_goes_on_from_there(tmp_path, monkeypatch):
    case = case_at(tmp_path, QUICK)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, "fisher_diagonal", stop)
        with pytest.raises(KeyboardInterrupt):
            run(case)
    assert case.record["status"] == "stopped"
    assert case.base_model_path not in run(case).made
    assert case.record["status"] == "finished"


# Signals, and what a killed run leaves in MLflow.
