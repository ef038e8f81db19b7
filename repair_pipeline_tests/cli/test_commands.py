"""The command line: what it prints, what it refuses, and which files it writes."""

import csv
import io
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from repair_pipeline.cases.families import preset_names
from repair_pipeline.cases.presets import case_id
from repair_pipeline.cli.errors import ExitCode
from repair_pipeline.cli.main import app
from repair_pipeline.cli.verdicts import code_of
from repair_pipeline.defs.partitions import CASES, dagster_instance
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.studies import STUDIES

ROOT = Path(__file__).parents[2]

TINY = """
dataset: {name: digits, train_size: 300}
training: {max_epochs: 2}
corruption: {rate: 0.3, confusion: {1: {7: 1.0}, 7: {1: 1.0}}}
causes: {top: planted}
influence: {loss: {}, random: {}}
treat: [loss, random]
treatments: {base: {}, selective_dampening: {}}
"""


@pytest.fixture
def repair(tmp_path, monkeypatch):
    """A function that runs a command in a store of its own."""
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REPAIR_DATA_DIR", str(tmp_path / "no-such-folder"))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke


@pytest.fixture
def tiny(tmp_path) -> str:
    """A case file that runs in seconds."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


BAD_INPUT = {
    "unknown case": (["run", "digits-noise-s0"], "digits-noise-s0", "preset"),
    "unknown key": (["run", "digits-label_noise-s0", "--set", "corruption.rat=0.4"], "corruption.rat", "mean rate?"),
    "key like none": (["run", "digits-label_noise-s0", "--set", "zzzz=0.4"], "zzzz is not a key", "docs/cases.md"),
    "rate too large": (["run", "digits-label_noise-s0", "--set", "corruption.rate=1.0"], "1.0", "less than 1"),
    "rate negative": (["run", "digits-label_noise-s0", "--set", "corruption.rate=-0.1"], "-0.1", "greater than"),
    "not a setting": (["run", "digits-label_noise-s0", "--set", "seed"], "'seed'", "--set corruption.rate=0.4"),
    "unknown study": (["study", "everything", "--plan"], "everything", "choose among methods"),
    "unknown part": (["study", "paper", "--only", "fig99", "--plan"], "fig99", "choose among fig2"),
    "no parts": (["study", "methods", "--only", "fig2", "--plan"], "fig2", "leave out --only"),
    "no such file": (["run", "no-such.yaml"], "no-such.yaml", "path"),
    "no data folder": (["run", "mnist-label_noise-s0"], "no-such-folder", "REPAIR_DATA_DIR"),
    "too few failures": (
        ["run", "digits-label_noise-s0", "--set", "dataset.train_size=1793", "--set", "training.max_epochs=1"],
        "of 4 test rows",
        "more test rows",
    ),
    "no validation rows": (
        [
            "run",
            "digits-label_noise-s0",
            "--set",
            "dataset.train_size=6",
            "--set",
            "corruption=null",
            "--set",
            "causes.top=5",
        ],
        "6 training rows",
        "more rows",
    ),
    "causes take everything": (
        [
            "run",
            "digits-label_noise-s0",
            *("--set", "causes={top: 5000}", "--set", "training.max_epochs=1"),
            *("--set", "influence={loss: {}}", "--set", "treat=[loss]"),
        ],
        "5000",
        "select between 1 and",
    ),
    "report before run": (["report", "digits-label_noise-s0"], "digits-label_noise-s0", "repair run"),
    "report on nothing": (["report"], "no case", "--all"),
    "report on one and all": (
        ["report", "digits-label_noise-s0", "--all"],
        "digits-label_noise-s0",
        "or repair report --all",
    ),
    "nothing to compare": (["report", "--all"], "no finished case", "repair run"),
    "not a select": (["query", "DROP TABLE cases"], "DROP", "SELECT"),
    "two selects": (["query", "SELECT 1; SELECT 2"], "SELECT and SELECT", "exactly one"),
    "a file": (["query", "SELECT * FROM '/etc/passwd'"], "/etc/passwd", "select from"),
    "not sql": (["query", "hello"], "hello", "fails"),
    "a case file of another kind": (["init", "case.yml.txt"], "case.yml.txt", "repair init case.yml.yaml"),
    "no such data": (["init", "a.yaml", "--train", "gone.csv", "--test", "x.csv"], "gone.csv", "paths are relative to"),
    "a plan of an earlier run": (["run", "--from-mlflow", "abc", "--plan"], "--plan", "give the CASE instead"),
    "two ways to review": (
        ["review", "some-case", "--import", "cleanlab", "a", "--static", "b"],
        "--import",
        "one at a time",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_line_and_exit_2_and_writes_nothing(repair, tmp_path, name):
    arguments, value, next_move = BAD_INPUT[name]
    result = repair(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("repair: ")
    assert value in line
    assert next_move in line
    left = [path for path in tmp_path.rglob("*.*") if "bases" not in path.parts]
    assert not left, "something was written besides a whole base"


def test_run_prints_the_table_and_the_next_commands_and_a_second_run_makes_nothing(repair, tiny, tmp_path):
    first = repair("run", tiny)
    assert first.exit_code == 0, first.stderr
    (case_id,) = re.findall(r"case (tiny-[0-9a-f]{8}) on cpu", first.stdout)
    for word in (
        "before",
        "loss → selective_dampening",
        "control",
        "random → selective_dampening",
        "report",
        "repair ui",
    ):
        assert word in first.stdout
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "home/results/models").rglob("*.safetensors")}
    assert len(files) == 3

    second = repair("run", tiny)
    assert second.exit_code == 0
    assert "everything is up to date" in second.stdout
    assert files == {path: path.stat().st_mtime_ns for path in files}

    with dagster_instance(Layout(tmp_path / "home")) as instance:
        of_case = dg.AssetRecordsFilter(dg.AssetKey("evaluation"), asset_partitions=[case_id])
        [record] = instance.fetch_materializations(of_case, limit=9).records  # the second run reports nothing
        of_repairs = dg.AssetRecordsFilter(dg.AssetKey("repaired_models"), asset_partitions=[case_id])
        [repairs] = instance.fetch_materializations(of_repairs, limit=9).records
    tags = record.asset_materialization.tags  # as Dagster's own runs have them, or its pages call the asset stale
    assert tags["dagster/input_event_pointer/repaired_models"] == str(repairs.storage_id)
    version = repairs.asset_materialization.tags["dagster/data_version"]
    assert tags["dagster/input_data_version/repaired_models"] == version
    metadata = record.asset_materialization.metadata
    assert metadata["made_by"].value == "repair run"
    assert f"WHERE case_id = '{case_id}'" in metadata["ask"].value

    misspelt = repair("run", case_id[:-2] + "zz")
    assert (misspelt.exit_code, f"did you mean {case_id}?" in misspelt.stderr) == (2, True)

    listed = repair("list").stdout
    assert case_id in listed
    assert "finished" in listed
    assert listed.index(case_id) < listed.index("digits-label_noise-s{0..4}")
    [row, *presets] = json.loads(repair("list", "--format", "json").stdout)
    assert (row["case"], row["status"], row["verdict"]) == (case_id, "finished", None)
    assert [preset["case"] for preset in presets] == preset_names()
    assert "everything is finished" in repair("run", tiny, "--plan").stdout

    scores = tmp_path / f"home/results/influence/case_id={case_id}/method=loss/influence.parquet"
    scores.unlink()
    planned = repair("run", tiny, "--plan").stdout
    assert re.search(r"influence_loss +│ +1 of 1 │ not made yet", planned)
    assert re.search(r"repaired_selective_dampening +│ +1 of 2 │ influence_loss is made again", planned)
    assert "stale: not made yet" in " ".join(repair("list", "--stale").stdout.split())
    assert not scores.exists()

    sql = f"SELECT treatment, remaining_accuracy FROM recovery WHERE case_id = '{case_id}' AND treatment = 'base'"
    as_json = json.loads(repair("query", sql, "--format", "json").stdout)
    as_csv = list(csv.DictReader(io.StringIO(repair("query", sql, "--format", "csv").stdout)))
    assert as_json == [{"treatment": "base", "remaining_accuracy": 1.0}]
    assert [row["treatment"] for row in as_csv] == ["base"]
    assert "remaining_accuracy" in repair("query", sql).stdout

    report = repair("report", case_id)
    assert Path(report.stdout.strip()).read_text().startswith("<!doctype html>")

    compared = Path(repair("report", "--all").stdout.strip())
    assert compared == tmp_path / "home/results/reports/all.html"
    assert f'href="case_id%3D{case_id}/report.html">{case_id}</a>' in compared.read_text()


def test_an_answer_has_full_width_where_there_is_no_terminal(repair, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    wide = ", ".join(f"'{'x' * 30}' AS column_{number}" for number in range(5))
    assert max(map(len, repair("query", f"SELECT {wide}").stdout.splitlines())) > 150


def test_an_empty_answer_from_an_empty_store_comes_with_a_hint(repair, tmp_path):
    answer = repair("query", "SELECT count(*) AS n FROM cases", "--format", "csv")
    assert (answer.exit_code, answer.stdout) == (0, "n\n0\n")
    assert f"{tmp_path / 'home'} has no results" in answer.stderr


COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


def test_a_studys_cases_become_partitions_of_the_job_study(repair, tmp_path):
    answer = repair("study", "few_failures", "--register")
    assert answer.exit_code == 0
    assert "10 cases are registered as partitions" in answer.stdout
    with dagster_instance(Layout(tmp_path / "home")) as instance:
        keys = set(instance.get_dynamic_partitions(str(CASES.name)))
    assert keys == {case_id(spec) for spec in STUDIES["few_failures"].cases()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_is_in_the_readme(repair, command):
    assert f"Example: repair {command}" in repair(command, "--help").stdout
    assert f"repair {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("group", [[], ["patch"], ["nightly"]], ids=str)
def test_no_line_of_the_commands_is_cut(repair, group):
    listed = repair(*group, "--help").stdout.split("Commands:")[1]
    assert "..." not in listed


def test_the_version_is_the_packages(repair):
    answer = repair("--version")
    assert (answer.exit_code, answer.stdout) == (0, f"repair {version('repair_pipeline')}\n")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),  # no gate
        (["accepted"], 0),
        (["accepted", "accepted"], 0),
        (["accepted", "not_proven"], 3),
        (["recommended"], 3),
        (["rejected"], 3),
        (["not_a_data_problem"], 3),
    ],
)
def test_the_exit_code_says_whether_the_gate_accepts(verdicts, code):
    assert code_of([{"verdict": verdict} for verdict in verdicts]) == code


def test_the_exit_codes_are_documented():
    page = (ROOT / "docs/reference/cli.md").read_text()
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)] == sorted(ExitCode)


def test_the_list_of_cases_imports_no_torch():
    code = "import sys, repair_pipeline.cli.listing; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["False", "False"]


def test_help_imports_nothing_heavy():
    code = "import sys, repair_pipeline.cli.main; print(*(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "dagster", "mlflow", "duckdb", "pyarrow", "sklearn", "matplotlib"} & set(loaded)
