"""A user's own data on the command line: init, check, run, patch, promote, rollback; and what is refused."""

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
    # Two thirds of the sick are called well, so clean rows look as harmful as they: by fdr nothing would be removed.
    *("--set", "causes={positive: true}", "--set", "influence={ewc: {}, random: {}}", "--set", "patch=null"),
]


def repair(*arguments):
    return CliRunner().invoke(app, list(arguments))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    """The user's folder after init, check and run, and the results of the three commands."""
    folder = tmp_path_factory.mktemp("ward")
    write_tables(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("REPAIR_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", "200")
        results = [repair("init", "wards.yaml", *INIT, *NET)]
        before = files(folder)
        results.append(repair("check", "wards.yaml"))
        assert files(folder) == before
        results.append(repair("run", "wards.yaml", *QUICK))
        assert [result.exit_code for result in results] == [0, 0, 0], [result.output for result in results]
        yield folder, results


def ask(sql):
    return json.loads(repair("query", sql, "--format", "json").stdout)


def test_check_lists_its_findings(ward):
    printed = ward[1][1].output
    for finding in (
        "0 = sick",
        "two passes give the same outputs",
        "3 buffers stay",
        "130 of 138 are adapted",
        "minutes",
    ):
        assert finding in printed
    assert "duplicates" not in printed


@pytest.mark.parametrize("file", ["train.parquet", "test.parquet"])
def test_a_case_whose_data_have_changed_is_refused(ward, file):
    case = ask("SELECT case_id FROM cases")[0]["case_id"]
    given, rows = Path(file).read_bytes(), pd.read_parquet(file)
    patch = [row["example_id"] for row in ask("SELECT example_id FROM patch")]
    if file == "train.parquet":
        rows.loc[rows.row == patch[0], "label"] = {"sick": "well", "well": "sick"}[
            rows.label[rows.row == patch[0]].item()
        ]
    else:
        rows = rows[::-1]
    rows.to_parquet(file, index=False)
    try:
        before = files(ward[0])
        refused = [repair("promote", "wards"), repair("run", case), repair("check", case)]
        for result in refused:
            assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
            assert "changed since" in result.stderr
        assert files(ward[0]) == before
        if file == "train.parquet":
            applied = repair("patch", "apply", case)
            assert applied.exit_code == 0, applied.stderr
            assert f"rows that were changed since {case} was judged: {patch[0]} " in applied.stdout
            assert patch[0] in set(pd.read_parquet(file).row)
            assert repair("patch", "revert", case).exit_code == 0
            assert files(ward[0])[ward[0] / file] == before[ward[0] / file]
    finally:
        Path(file).write_bytes(given)
    assert repair("patch", "apply", case).exit_code == 0
    assert repair("patch", "revert", case).exit_code == 0


def test_the_verdict_is_explained(ward):
    case = ask("SELECT case_id FROM cases ORDER BY created_at")[0]["case_id"]
    told = repair("explain", case)
    assert told.exit_code == 0
    for word in ("verdict: accepted", "promote  repair promote wards", f"repair patch apply {case}", "report.html"):
        assert word in told.stdout
    unrun = repair("explain", "digits-label_noise-s1")
    assert (unrun.exit_code, unrun.stderr.count("\n")) == (2, 1)
    assert "has no gate" in unrun.stderr


def test_a_plan_says_that_the_holdout_was_read(ward):
    other = repair("run", "wards.yaml", *QUICK, "--set", "gate.controls=4", "--plan").stdout
    [said] = [line for line in other.splitlines() if line.startswith("holdout: ")]
    assert said.endswith(
        "read by 1 earlier repair, so at best recommended can come out: report new failures, or add test rows"
    )
    assert "holdout: " not in repair("run", "wards.yaml", *QUICK, "--plan").stdout  # it was the first itself


def test_the_accepted_repair_is_promoted_and_rolled_back(ward):
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
    wrong = [int(printed.split("wrong on ")[1].split()[0]) for printed in (champion, former)]
    assert wrong[0] < wrong[1] / 2


def test_the_patch_is_applied_and_reverted_byte_by_byte(ward):
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


def applied_as(edit, case):
    """Apply an edited ``patch.csv``, then restore all files; the result, the original patch and the patched rows."""
    path = Path("home/results/patches") / f"case_id={case}" / "patch.csv"
    given, rows = path.read_bytes(), pd.read_csv(path, dtype=str, keep_default_na=False)
    edit(rows).to_csv(path, index=False)
    try:
        result = repair("patch", "apply", case)
        after = pd.read_parquet("train.parquet").set_index("row")
        if result.exit_code == 0:
            assert repair("patch", "revert", case).exit_code == 0
        return result, rows, after
    finally:
        path.write_bytes(given)


def test_an_edited_patch_is_applied_as_edited(ward):
    case = ask("SELECT case_id FROM cases")[0]["case_id"]
    before = pd.read_parquet("train.parquet").set_index("row")
    result, rows, after = applied_as(
        lambda rows: rows[:3].assign(action=["keep", "drop", "relabel"], suggested_label=["", "", "sick"]), case
    )
    assert result.exit_code == 0, result.output
    same = sum([rows.action[1] == "drop", (rows.action[2], rows.suggested_label[2]) == ("relabel", "sick")])
    assert f"patch.csv: {len(rows) - same} rows were edited by you" in result.stdout
    assert set(before.index) - set(after.index) == {rows.example_id[1]}
    changed = after.label != before.label[after.index]
    assert set(after.index[changed]) <= {rows.example_id[2]}
    assert after.label[rows.example_id[2]] == "sick"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda rows: rows.assign(example_id="stranger"), "rows that are none of the training data (stranger"),
        (
            lambda rows: pd.concat(
                [rows.assign(action="relabel", suggested_label="sick"), rows.assign(action="keep", suggested_label="")]
            ),
            "leave one of them",
        ),
        (lambda rows: rows.assign(action="delete"), "has the action 'delete'"),
        (lambda rows: rows.assign(action="relabel", suggested_label=""), "relabel with one"),
        (
            lambda rows: rows.assign(action="relabel", suggested_label="ill"),
            "has the suggested_label 'ill', but the classes are sick, well",
        ),
        (lambda rows: rows.drop(columns="action"), "has no column 'action'"),
    ],
)
def test_an_invalid_edit_of_the_patch_changes_nothing(ward, edit, says):
    case = ask("SELECT case_id FROM cases")[0]["case_id"]
    before = files(ward[0])
    result, _, _ = applied_as(edit, case)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert says in result.stderr
    assert files(ward[0]) == before


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with tables and no case."""
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    return tmp_path


BAD = {
    "no such factory": ((*NET[:1], "repair_pipeline_tests.wards:lattice"), {}, "has no such name"),
    "no such module": (("--factory", "my_wards:net"), {}, "no module 'my_wards'"),
    "too many outputs": (
        ("--factory", "repair_pipeline_tests.models.test_user_model:net"),
        {},
        "the model cannot read inputs of shape (2,)",
    ),
    "an id that repeats": (NET, {"row": "same"}, "row"),
    "a group without a row": ((*NET, "--where", "scanner = 'Z'"), {}, "holds for none"),
}


@pytest.mark.parametrize("bad", BAD)
def test_an_unusable_case_is_refused_in_one_line_and_writes_nothing(desk, bad):
    flags, columns, says = BAD[bad]
    for column, value in columns.items():
        pd.read_parquet("train.parquet").assign(**{column: value}).to_parquet("train.parquet", index=False)
    written = repair("init", "wards.yaml", *INIT, *flags)
    assert written.exit_code == 0, written.output
    before = files(desk)
    for command in (("check", "wards.yaml"), ("run", "wards.yaml", *QUICK)):
        if bad == "a group without a row" and command[0] == "check":
            continue  # the base model is not trained yet, and a predicate may ask what it predicts
        refused = repair(*command)
        assert refused.exit_code == 2
        assert refused.stderr.count("\n") == 1
        assert says in refused.stderr
    left = {path: content for path, content in files(desk).items() if "bases" not in path.parts}
    assert left == before  # but for a whole base, which the mended case shares


def test_init_without_a_terminal_asks_nothing_and_overwrites_nothing(desk):
    refused = repair("init", "wards.yaml", "--train", "train.parquet")
    assert (refused.exit_code, "--test is required" in refused.stderr) == (2, True)
    assert not Path("wards.yaml").exists()
    Path("wards.yaml").write_text("mine")
    assert repair("init", "wards.yaml", *INIT, *NET).exit_code == 2
    assert Path("wards.yaml").read_text() == "mine"
