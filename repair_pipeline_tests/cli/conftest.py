"""A folder with a case that has a patch."""

import pytest

from repair_pipeline_tests.cli.desk import KINDS, Desk


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(params=KINDS)
def desk(request, folder):
    return Desk(folder, KINDS[request.param](folder))


@pytest.fixture
def csv(folder):
    return Desk(folder, KINDS["csv"](folder))
