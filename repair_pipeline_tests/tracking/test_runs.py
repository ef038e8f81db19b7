"""Links to MLflow's pages, and the commit that a run stores."""

import subprocess

import pytest

from repair_pipeline.settings import variable
from repair_pipeline.tracking import runs
from repair_pipeline.tracking.runs import git_sha, model_url, run_url


@pytest.mark.parametrize(("setting", "port"), [(None, "5000"), ("5101", "5101")])
def test_links_have_the_port_of_the_setting(monkeypatch, setting, port):
    monkeypatch.delenv(variable("mlflow_port"), raising=False)
    if setting:
        monkeypatch.setenv(variable("mlflow_port"), setting)
    run = run_url({"experiment_id": "1", "run_id": "abc"})
    assert run == f"http://127.0.0.1:{port}/#/experiments/1/runs/abc?workflowType=machine_learning"
    assert model_url("wards", 3).startswith(f"http://127.0.0.1:{port}/#/models/wards/versions/3?")


def test_the_commit_is_marked_dirty_if_the_code_has_changed(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    code = tmp_path / "runs.py"
    code.write_text("one")
    monkeypatch.setattr(runs, "__file__", str(code))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_sha() is None
    git("init", "-q")
    (tmp_path / ".gitignore").write_text("runs.py")  # like an environment inside another checkout
    git("add", ".gitignore")
    git("commit", "-qm", "none")
    assert git_sha() is None
    git("add", "--force", "runs.py")
    git("commit", "-qm", "one")
    git("tag", "a-tag")
    assert git_sha() == git("rev-parse", "HEAD")
    code.write_text("two")
    assert git_sha() == git("rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert git_sha() is None
