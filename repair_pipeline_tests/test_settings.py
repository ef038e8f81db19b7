"""Settings: precedence of their sources, and how invalid values are reported."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from repair_pipeline.cli.main import app
from repair_pipeline.defs.nightly import nightly
from repair_pipeline.errors import InputError
from repair_pipeline.settings import FILE, Settings, origins, read_settings
from repair_pipeline.tracking.runs import model_url


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty current folder, and no variable that is a setting."""
    monkeypatch.chdir(tmp_path)
    for variable in read_settings().variables():
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_the_defaults_are_those_of_one_machine(folder):
    assert dict(read_settings()) == {
        "home": folder / "data",
        "data_dir": folder / "data",
        "nightly": "0 2 * * *",
        "notify": "",
        "notify_urls": SecretStr(""),
        "keep_days": 30,
        "dagster_port": 3000,
        "mlflow_port": 5000,
        "mlflow_experiment": "repair_pipeline",
        "engine": "local",
        "ray_cpus": 1.0,
        "ray_gpus": 1.0,
        "ray_retries": 3,
        "query_memory_mb": 2048,
        "query_seconds": 60,
        "query_threads": 2,
        "query_rows": 1_000_000,
    }
    assert nightly.cron_schedule == "0 2 * * *"


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(folder, monkeypatch):
    assert read_settings().mlflow_port == 5000
    (folder / FILE).write_text("mlflow_port = 5001\n")
    assert read_settings().mlflow_port == 5001
    monkeypatch.setenv("REPAIR_MLFLOW_PORT", "5002")
    assert read_settings(mlflow_port=None).mlflow_port == 5002
    assert read_settings(mlflow_port=5003).mlflow_port == 5003
    monkeypatch.setenv("REPAIR_MLFLOW_PORT", "")  # empty counts as not set
    assert read_settings().mlflow_port == 5001


def test_it_is_known_where_each_value_comes_from(folder, monkeypatch):
    (folder / FILE).write_text('notify = "mail me"\nmlflow_port = 5001\n')
    monkeypatch.setenv("REPAIR_MLFLOW_PORT", "5002")
    expected = {"notify": FILE, "mlflow_port": "environment"}
    assert origins() == dict.fromkeys(Settings.model_fields, "default") | expected


def test_folders_are_absolute_and_may_be_the_users(folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    (folder / FILE).write_text('home = "~/repairs"\ndata_dir = "sets"\n')
    assert (read_settings().home, read_settings().data_dir) == (Path("/home/ada/repairs"), folder / "sets")


def test_the_variables_hand_every_setting_to_another_process(folder, monkeypatch):
    settings = read_settings(
        home="here",
        data_dir="there",
        nightly="@daily",
        notify="cat",
        notify_urls="json://127.0.0.1:9/a json://127.0.0.1:9/b",
        dagster_port=1,
        mlflow_port=2,
    )
    for variable, value in settings.variables().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.chdir("/")
    assert read_settings() == settings
    assert model_url("digits", 3).startswith("http://127.0.0.1:2/#/models/digits/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hom = 1", "repair.toml has no setting 'hom': it may have home, data_dir, nightly,"),
        ("[repair]\nhome = 'x'", "repair.toml has no setting 'repair'"),
        ("mlflow_port = 'x'", "mlflow_port in repair.toml cannot be 'x': Input should be a valid integer"),
        ("dagster_port = 70000", "dagster_port in repair.toml cannot be 70000"),
        ("nightly = 'at two'", "nightly in repair.toml cannot be 'at two': a cron expression has five fields"),
        ("notify = 3", "notify in repair.toml cannot be 3: Input should be a valid string"),
        ("home = ", "repair.toml cannot be read: Invalid value (at end of document)"),
        ("\xff", "repair.toml cannot be read: 'utf-8' codec"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_code_2(folder, text, message):
    (folder / FILE).write_text(text, encoding="latin-1")
    ended = CliRunner().invoke(app, ["report", "digits-label_noise-s0"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"repair: {message}")
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_a_wrong_variable_is_named_as_it_is_written(folder, monkeypatch):
    (folder / FILE).write_text("mlflow_port = 5001\n")
    monkeypatch.setenv("REPAIR_MLFLOW_PORT", "high")
    with pytest.raises(InputError, match=r"^REPAIR_MLFLOW_PORT cannot be 'high': Input should be a valid integer"):
        read_settings()


@pytest.mark.parametrize("command", [["ui"], ["nightly", "on"], ["nightly", "off"]])
def test_an_invalid_cron_expression_is_refused_before_anything_starts(folder, command):
    (folder / FILE).write_text('nightly = "99 * * * *"\n')
    ended = CliRunner().invoke(app, command)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("repair: the setting nightly cannot be '99 * * * *': it is not a cron expression")
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_doctor_shows_every_setting_and_where_it_comes_from(folder, monkeypatch):
    (folder / FILE).write_text("mlflow_port = 5001\n")
    monkeypatch.setenv("REPAIR_HOME", "here")
    ended = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert ended.exit_code == 0
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.stdout.splitlines()]
    shown = {row[0]: row[1:] for row in cells if len(row) == 3}
    assert list(shown) == list(Settings.model_fields)
    assert shown["home"] == [str(folder / "here"), "environment"]
    assert shown["mlflow_port"] == ["5001", "repair.toml"]
    assert shown["nightly"] == ["0 2 * * *", "default"]


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())
