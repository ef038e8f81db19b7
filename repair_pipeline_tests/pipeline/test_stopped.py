"""Runs that are stopped or killed while MLflow's run is open."""

import os
import signal
import time

import mlflow
import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.run import TerminatedError
from repair_pipeline.tracking import runs
from repair_pipeline.tracking.store import open_store
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import run


@pytest.fixture(autouse=True)
def unhandled():
    """Nothing handles SIGTERM, whatever libraries that earlier tests loaded have put there."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def tracked(case, monkeypatch):
    """The finished case, with an MLflow run that is to be logged."""
    monkeypatch.setattr(steps, "track", runs.track)
    monkeypatch.setattr(runs, "log_model", lambda *args: None)  # the export takes longer than all the rest
    case.layout.tracked_run(case.id).unlink()
    return case


def mlflow_runs(case):
    client = open_store(case.layout)
    experiment = client.get_experiment_by_name("repair_pipeline").experiment_id
    runs = client.search_runs([experiment], f"tags.`repair.case_id` = '{case.id}'")
    return [run for run in runs if "mlflow.parentRunId" not in run.data.tags], runs


def terminate(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)  # the signal comes first


class Killed(BaseException):
    """Nothing is closed after it, as after SIGKILL."""


def kill(*_, **__):
    raise Killed


def test_sigterm_closes_the_status_and_the_mlflow_run_as_ctrl_c_does(tracked, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "log_model", terminate)
        with pytest.raises(TerminatedError):
            run(tracked)
    assert tracked.record["status"] == "stopped"
    parents, everyone = mlflow_runs(tracked)
    assert [each.info.status for each in parents] == ["FAILED"]
    assert "RUNNING" not in {each.info.status for each in everyone}
    assert signal.getsignal(signal.SIGTERM) == handler
    run(tracked)
    parents, everyone = mlflow_runs(tracked)
    assert len(parents) == 1
    assert {each.info.status for each in everyone} == {"FINISHED"}
    assert tracked.record["status"] == "finished"


def test_sigterm_is_sigterm_where_dagster_has_made_it_a_ctrl_c(tracked, monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        monkeypatch.setattr(runs, "log_model", terminate)
        with pytest.raises(TerminatedError):
            run(tracked)
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("other", [KeyboardInterrupt, ValueError, None])
def test_sigterm_stays_sigterm_if_a_library_puts_another_error_in_its_place(tracked, monkeypatch, other):
    def interrupted(*_, **__):
        try:
            terminate()
        except KeyboardInterrupt:
            if other is not None:
                raise other("interrupted") from None

    monkeypatch.setattr(runs, "log_model", interrupted)
    with pytest.raises(TerminatedError):
        run(tracked)
    assert tracked.record["status"] == "stopped"


def test_a_run_that_was_killed_leaves_no_twin_in_mlflow(tracked, monkeypatch):
    for dies_in in ("_flat", "_numbers", "log_model"):
        with monkeypatch.context() as patch:
            patch.setattr(runs, dies_in, kill)
            patch.setattr("mlflow.tracking.fluent.end_run", lambda *_: None)
            with pytest.raises(Killed):
                run(tracked)
        mlflow.tracking.fluent._active_run_stack.set([])  # a new process has none
        assert "RUNNING" in {each.info.status for each in mlflow_runs(tracked)[0]}
    run(tracked)
    parents, everyone = mlflow_runs(tracked)
    assert len(parents) == 1
    assert {each.info.status for each in everyone} == {"FINISHED"}
    tracked.layout.tracked_run(tracked.id).unlink()  # it is logged again, and the finished run stays
    run(tracked)
    assert [each.info.status for each in mlflow_runs(tracked)[0]] == ["FINISHED"] * 2


def test_a_server_that_does_not_answer_is_noticed_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"http://127.0.0.1:9 \(MLFLOW_TRACKING_URI\) does not answer"):
        run(case_at(tmp_path))
    assert list(tmp_path.iterdir()) == []
