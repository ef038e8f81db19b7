"""The owner's way through the shell: init, check, run, patch, promote, rollback; and what is refused on it."""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from repair_pipeline.cli.main import app
from repair_pipeline_tests.wards import write_tables

INIT = (
    "--train",
    "train.parquet",
    "--test",
    "test.parquet",
    "--id",
    "row",
    "--where",
    "scanner = 'B' and label = 'sick'",
)
NET = ("--factory", "repair_pipeline_tests.wards:net")
QUICK = [
    *("--set", "training={learning_rate: 0.01, max_epochs: 30}", "--set", "treatments={finetune: {}}"),
    *("--set", "gate={bound: 0.2, class_bound: 0.5}", "--set", "compute.threads=1"),
]


def repair(*arguments):
    return CliRunner().invoke(app, list(arguments))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """The owner's folder after init, check and run, and what the three printed."""
    folder = tmp_path_factory.mktemp("ward")
    write_tables(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REPAIR_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", "200")
        made = [repair("init", "wards.yaml", *INIT, *NET)]
        before = files(folder)
        made.append(repair("check", "wards.yaml"))
        assert files(folder) == before
        made.append(repair("run", "wards.yaml", *QUICK))
        assert [result.exit_code for result in made] == [0, 0, 0], [result.output for result in made]
        yield folder, made


def ask(sql):
    return json.loads(repair("query", sql, "--format", "json").stdout)


def test_check_names_what_it_looked_at(ward):
    said = ward[1][1].output
    for looked_at in (
        "0 = sick",
        "two passes give the same outputs",
        "3 buffers stay",
        "130 of 138 are adapted",
        "minutes",
    ):
        assert looked_at in said
    assert "duplicates" not in said


def test_the_accepted_repair_is_promoted_and_taken_back(ward):
    assert ask("SELECT verdict FROM verdicts WHERE judge = 'gate'") == [{"verdict": "accepted"}]
    assert "version 2" in repair("promote", "wards").output
    again = repair("promote", "wards")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    Path("next.yaml").write_text(
        "dataset: {train: train.parquet, test: test.parquet, id: row}\nmodel: {weights: 'models:/wards@champion'}\n"
    )
    champion = repair("check", "next.yaml").output
    assert "version 1" in repair("rollback", "wards").output
    former = repair("check", "next.yaml").output
    wrong = [int(said.split("wrong on ")[1].split()[0]) for said in (champion, former)]
    assert wrong[0] < wrong[1] / 2


def test_the_patch_is_applied_and_taken_back_byte_by_byte(ward):
    [case] = ask("SELECT case_id FROM cases")
    given = Path("train.parquet").read_bytes()
    rows = pd.read_parquet("train.parquet").set_index("row")
    assert repair("patch", "apply", case["case_id"]).exit_code == 0
    patched = pd.read_parquet("train.parquet").set_index("row")
    for line in ask("SELECT example_id, action, label, suggested_label FROM patch"):
        assert rows["label"][line["example_id"]] == line["label"]
        if line["action"] == "drop":
            assert line["example_id"] not in patched.index
        else:
            assert patched["label"][line["example_id"]] == line["suggested_label"]
    twice = repair("patch", "apply", case["case_id"])
    assert (twice.exit_code, twice.stderr.count("\n")) == (2, 1)
    assert repair("patch", "revert", case["case_id"]).exit_code == 0
    assert hashlib.sha256(Path("train.parquet").read_bytes()).digest() == hashlib.sha256(given).digest()


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with tables and no case."""
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    return tmp_path


BAD = {
    "no such factory": ((*NET[:1], "repair_pipeline_tests.wards:lattice"), {}, "does not hold"),
    "no such module": (("--factory", "my_wards:net"), {}, "no 'my_wards' here"),
    "too many outputs": (
        ("--factory", "repair_pipeline_tests.models.test_own:net"),
        {},
        "the model cannot read inputs of shape (2,)",
    ),
    "an id that repeats": (NET, {"row": "same"}, "row"),
    "a group without a row": ((*NET, "--where", "scanner = 'Z'"), {}, "holds for none"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_work_is_one_line_and_writes_nothing(desk, bad):
    flags, columns, says = BAD[bad]
    for column, value in columns.items():
        pd.read_parquet("train.parquet").assign(**{column: value}).to_parquet("train.parquet", index=False)
    made = repair("init", "wards.yaml", *INIT, *flags)
    assert made.exit_code == 0, made.output
    before = files(desk)
    for command in (("check", "wards.yaml"), ("run", "wards.yaml", *QUICK)):
        if bad == "a group without a row" and command[0] == "check":
            continue  # the base model is not trained yet, and a predicate may ask what it predicts
        refused = repair(*command)
        assert refused.exit_code == 2
        assert refused.stderr.count("\n") == 1
        assert says in refused.stderr
    assert files(desk) == before


def test_init_asks_for_nothing_without_a_terminal_and_keeps_what_is_there(desk):
    refused = repair("init", "wards.yaml", "--train", "train.parquet")
    assert (refused.exit_code, "--test is not given" in refused.stderr) == (2, True)
    assert not Path("wards.yaml").exists()
    Path("wards.yaml").write_text("mine")
    assert repair("init", "wards.yaml", *INIT, *NET).exit_code == 2
    assert Path("wards.yaml").read_text() == "mine"
