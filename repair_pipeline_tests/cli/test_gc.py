"""``repair gc``."""

import pytest
from typer.testing import CliRunner

from repair_pipeline.cli.main import app
from repair_pipeline_tests.pipeline.test_retention import layout, stored

__all__ = ["layout"]


@pytest.fixture(autouse=True)
def _home(layout, monkeypatch):
    monkeypatch.setenv("REPAIR_HOME", str(layout.home))
    monkeypatch.setenv("COLUMNS", "100")


def repair(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def test_a_dry_run_says_what_is_held_and_why_and_removes_nothing(layout):
    old, latest = stored(layout, "wards", 600), stored(layout, "wards", 599, seed=1)
    code, said = repair("gc", "--dry-run", "--keep-days", "1")
    assert code == 0
    assert [line.split("│")[3].strip() for line in said.splitlines() if line.startswith("│")] == [
        "",
        "it is the latest case of wards",
    ]
    assert "1 case would be cleared" in said
    assert repair("gc", "--keep-days", "1")[1].splitlines()[0] == f"cleared {old}"
    assert latest not in repair("gc", "--keep-days", "1")[1]


def test_an_empty_home_and_a_wrong_number_of_days(layout):
    assert repair("gc")[0] == 0
    code, said = repair("gc", "--keep-days", "0")
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert "--keep-days cannot be 0" in said
