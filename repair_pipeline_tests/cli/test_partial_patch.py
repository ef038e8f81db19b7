"""``repair patch apply`` with options, with decisions of a person, and the record of what was decided."""

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.cli.main import app
from repair_pipeline.datasets.patching import applied_patches
from repair_pipeline.pipeline import decisions
from repair_pipeline.pipeline.inputs import changed_data
from repair_pipeline.storage.decision_log import DecisionLog
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline_tests.cli.desk import KINDS, Desk, files
from repair_pipeline_tests.pipeline.conftest import case_at


@pytest.mark.parametrize(
    ("options", "dropped", "relabelled", "why"),
    [
        ((), [0, 2, 4], [1, 3], "0 left alone"),
        (
            ("--min-probability", "0.9"),
            [0, 4],
            [1],
            "2 left alone (1 below --min-probability 0.9, 1 of unknown probability, --min-probability 0.9)",
        ),
        (("--only", "drop"), [0, 2, 4], [], "2 left alone (2 to relabel, --only drop)"),
        (("--limit", "2"), [0, 4], [], "3 left alone (3 beyond --limit 2)"),
        (
            ("--min-probability", "0.6", "--only", "drop", "--limit", "1"),
            [4],
            [],
            "4 left alone (1 beyond --limit 1, 1 to relabel, --only drop, 1 below --min-probability 0.6, "
            "1 of unknown probability, --min-probability 0.6)",
        ),
    ],
)
def test_options_choose_among_the_suggestions(desk, options, dropped, relabelled, why):
    before = desk.rows()
    result = desk.apply(*options)
    assert result.exit_code == 0, result.output
    train = desk.case.spec.dataset.train
    said = f"{train}: {len(dropped)} rows dropped, {len(relabelled)} relabelled, {why}; undo with: repair patch revert"
    assert said in result.stdout
    after = desk.rows()
    assert before.keys() - after.keys() == {desk.ids[at] for at in dropped}
    assert {name for name in after if after[name] != before[name]} == {desk.ids[at] for at in relabelled}


def test_a_dry_run_says_what_would_change_and_changes_nothing(desk, folder):
    before = files(folder)
    result = desk.apply("--dry-run", "--min-probability", "0.4")
    assert result.exit_code == 0
    train = desk.case.spec.dataset.train
    no, yes = ([desk.rows()[desk.ids[at]] for at in (0, 2, 4)].count(name) for name in ("no", "yes"))
    relabelled = "no to yes" if desk.rows()[desk.ids[1]] == "no" else "yes to no"
    assert result.stdout.splitlines() == [
        *([f"drop no: {no}"] if no else []),
        *([f"drop yes: {yes}"] if yes else []),
        f"relabel {relabelled}: 1",
        f"{train}: without --dry-run 3 rows dropped, 1 relabelled, 1 left alone (1 of unknown probability, "
        "--min-probability 0.4); nothing was changed",
    ]
    assert files(folder) == before


def test_nothing_left_is_no_error_and_says_the_next_move(csv, folder):
    before = files(folder)
    result = csv.apply("--min-probability", "0.99")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert result.stdout.startswith("train.csv: nothing to apply: 5 left alone (4 below --min-probability 0.99, 1 of")
    assert "leave out an option, or decide about rows with --decisions FILE" in result.stdout
    assert files(folder) == before


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
def test_a_person_who_keeps_every_row_has_nothing_to_apply(csv, folder, verdict):
    csv.judge(verdict)
    (folder / "reviewed.csv").write_text("example_id,decision\n" + "".join(f"{row},keep\n" for row in csv.ids[:5]))
    before = (folder / "train.csv").read_bytes()
    result = csv.apply("--decisions", "reviewed.csv")
    assert result.exit_code == 0, result.output
    assert "nothing to apply: 5 left alone (5 kept by decisions file)" in result.stdout
    assert (folder / "train.csv").read_bytes() == before
    assert applied_patches(csv.case.spec.dataset, folder) == []


def test_a_patch_that_leaves_every_row_to_a_person_has_nothing_to_apply(csv, folder):
    rows = [{"failure_group": "all", "example_id": row, "action": "keep", "rank": 1} for row in csv.ids[:3]]
    save_rows(csv.case.layout.table("patch", csv.case.id), "patch", rows, {})
    result = csv.apply()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "nothing to apply: 3 left alone (3 that are less certainly harmful)" in result.stdout


REVIEWED = """example_id,decision,label,reviewer
{0},keep,,ada
{1},drop,,ada
{6},relabel,{new},bob
{7},drop,,
{5},keep,,bob
"""


def test_decisions_override_suggestions_and_reach_any_training_row(desk, folder):
    before = desk.rows()
    new = {"no": "yes", "yes": "no"}[before[desk.ids[6]]]
    (folder / "reviewed.csv").write_text(REVIEWED.format(*desk.ids, new=new))
    result = desk.apply("--decisions", "reviewed.csv", "--only", "drop", "--limit", "1")
    assert result.exit_code == 0, result.output
    assert "reviewed.csv: 5 decisions" in result.stdout
    assert "3 rows dropped, 1 relabelled, 4 left alone (2 kept by decisions file" in result.stdout
    after = desk.rows()
    assert before.keys() - after.keys() == {desk.ids[at] for at in (1, 4, 7)}
    assert {name for name in after if after[name] != before[name]} == {desk.ids[6]}
    found = {row["example_id"]: row for row in desk.ask()}
    assert found[desk.ids[6]] == {
        "example_id": desk.ids[6],
        "decision": "relabel",
        "label": new,
        "source": "decisions file",
        "reviewer": "bob",
        "failure_group": None,
    }
    assert [found[desk.ids[at]]["source"] for at in range(5)] == [
        *("decisions file", "decisions file", "--limit 1", "--only drop", "suggestion"),
    ]
    assert [found[desk.ids[at]]["decision"] for at in range(8)] == [
        *("keep", "drop", "keep", "keep", "drop", "keep", "relabel", "drop"),
    ]
    assert [found[desk.ids[at]]["failure_group"] for at in (4, 5)] == ["all", None]


def test_what_was_decided_in_review_is_followed_and_said(csv, folder):
    log = DecisionLog(csv.case.layout, csv.case.id)
    said = [("drop", None), ("relabel", "no"), ("keep", None), ("unsure", None), ("undecided", None)]
    names = [csv.ids[0], "h", csv.ids[2], csv.ids[1], csv.ids[4]]
    log.add(
        [
            {"example_id": name, "decision": what, "label": label}
            for name, (what, label) in zip(names, said, strict=True)
        ],
        "ada",
    )
    result = csv.apply()
    assert result.exit_code == 0
    assert f"review: 4 rows were decided in repair review {csv.case.id}" in result.stdout
    assert "2 left alone (1 that reviewers are unsure about, 1 kept by review)" in result.stdout
    done = {row["example_id"]: (row["decision"], row["label"], row["source"], row["reviewer"]) for row in csv.ask()}
    assert done == {
        csv.ids[0]: ("drop", None, "review", "ada"),
        "h": ("relabel", "no", "review", "ada"),
        csv.ids[2]: ("keep", None, "review", "ada"),
        csv.ids[1]: ("keep", None, "review", "ada"),
        csv.ids[3]: ("relabel", csv_other(csv, 3), "suggestion", None),
        csv.ids[4]: ("drop", None, "suggestion", None),
    }


def test_a_file_overrides_the_review_row_by_row(csv, folder):
    log = DecisionLog(csv.case.layout, csv.case.id)
    log.add([{"example_id": name, "decision": "keep", "label": None} for name in csv.ids[:2]], "ada")
    (folder / "reviewed.csv").write_text(f"example_id,decision,label\n{csv.ids[0]},drop,\n{csv.ids[4]},unsure,\n")
    assert csv.apply("--decisions", "reviewed.csv").exit_code == 0
    done = {row["example_id"]: (row["decision"], row["source"]) for row in csv.ask()}
    assert done[csv.ids[0]] == ("drop", "decisions file")
    assert done[csv.ids[1]] == ("keep", "review")
    assert done[csv.ids[4]] == ("keep", "decisions file")


def csv_other(desk, at):
    """The class that the patch suggests for a row: the one that it has not."""
    return {"no": "yes", "yes": "no"}["yes" if at % 2 else "no"]


def test_without_a_proven_repair_only_a_persons_decisions_are_applied(csv, folder):
    csv.judge("rejected")
    before = files(folder)
    refused = csv.apply()
    assert "the verdict of wards" in refused.stderr
    assert "or --decisions FILE" in refused.stderr
    assert files(folder) == before
    (folder / "reviewed.csv").write_text("example_id,decision\nb,drop\n")
    result = csv.apply("--decisions", "reviewed.csv")
    assert "1 rows dropped, 0 relabelled, 4 left alone (4 not proven to help)" in result.stdout
    assert list(csv.rows()) == list("acdefgh")
    assert {row["source"] for row in csv.ask()} == {"decisions file", "verdict"}


def test_a_file_of_decisions_overrides_the_edited_patch(csv, folder):
    patch = query(csv.case.layout, "SELECT failure_group, example_id, action, suggested_label FROM patch")
    edited = patch.to_pandas().astype({"action": str})
    edited.loc[edited.example_id.isin(["a", "c"]), "action"] = "keep"
    path = csv.case.layout.patch(csv.case.id, "patch.csv")
    path.parent.mkdir(parents=True)
    edited.to_csv(path, index=False)
    (folder / "reviewed.csv").write_text("example_id,decision\na,drop\n")
    result = csv.apply("--decisions", "reviewed.csv", "--only", "drop")
    assert "patch.csv: 2 rows were edited by you" in result.stdout
    assert list(csv.rows()) == list("bcdfgh")
    sources = {row["example_id"]: (row["decision"], row["source"]) for row in csv.ask()}
    assert (sources["a"], sources["c"]) == (("drop", "decisions file"), ("keep", "patch.csv"))


def test_the_record_outlives_the_patch_and_grows(csv):
    assert csv.ask() == []
    assert csv.apply("--only", "drop").exit_code == 0
    first = csv.ask()
    assert [row["decision"] for row in first] == ["drop", "keep", "drop", "keep", "drop"]
    csv.revert()
    assert csv.ask() == first
    assert csv.apply().exit_code == 0
    assert len(csv.ask()) == 10
    assert len({row["decided_at"] for row in csv.ask("decided_at")}) == 2


def test_a_patch_whose_record_cannot_be_written_is_not_applied(desk, folder, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(decisions, "save_rows", full)
    before = files(folder)
    result = desk.apply()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "cannot be patched (no space left on device): nothing was changed" in result.stderr
    assert files(folder) == before


def test_edits_that_change_nothing_are_said(csv, folder):
    layout, key = csv.case.layout, csv.case.id
    stored = read_parquet(layout.table("patch", key))[0]
    path, copy = layout.patch(key, "patch.csv"), layout.patch(key, "patch.parquet")
    path.parent.mkdir(parents=True)
    pq.write_table(stored, copy)
    frame = stored.to_pandas()
    frame.to_csv(path, index=False)
    assert "edited" not in csv.apply("--dry-run").stdout
    frame.loc[frame.example_id == "a", "label"] = "yes"
    frame[:4].to_csv(path, index=False)
    pq.write_table(stored[:2], copy)
    said = csv.apply("--dry-run").stdout
    assert f"{path}: the column label was edited in 1 rows (a), which changes nothing: give a row another class" in said
    assert f"{copy} was edited, which changes nothing: edit patch.csv, or decide about rows with --decisions" in said
    assert f"{path}: 1 rows were edited by you" in said
    assert "2 rows dropped, 2 relabelled, 1 left alone (1 kept by patch.csv)" in said
    copy.write_bytes(b"half a file")
    assert f"{copy} was edited" in csv.apply("--dry-run").stdout


# Whether the data have changed since the case was judged.


def test_the_cases_own_patch_is_no_change_of_its_data(desk):
    assert desk.changed() == []
    assert desk.apply("--only", "drop").exit_code == 0
    assert desk.changed() == []
    desk.revert()
    assert desk.changed() == []
    assert desk.apply().exit_code == 0
    assert desk.changed() == []


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_change_after_their_patch_have_changed(folder, kind):
    desk = Desk(folder, KINDS[kind](folder))
    assert desk.apply("--only", "drop").exit_code == 0
    train = folder / desk.case.spec.dataset.train
    if kind == "images":
        Image.new("L", (4, 4), 255).save(train / "no" / "new.png")
    elif kind == "csv":
        train.write_text(train.read_text().replace("yes", "no", 1))
    else:
        pd.read_parquet(train)[::-1].to_parquet(train, index=False)
    assert desk.changed() == ["dataset.train"]


def test_another_patch_on_top_is_a_change_unless_the_case_was_judged_with_it(folder):
    desk = Desk(folder, KINDS["csv"](folder))
    other = parse_spec({**desk.case.spec.resolved, "seed": 1})
    second = case_at(desk.case.layout.home, other)
    second.register("finished")
    row = {"failure_group": "all", "example_id": "h", "action": "drop"}
    save_rows(second.layout.table("patch", second.id), "patch", [row], {})
    verdict = {"failure_group": "all", "judge": "gate", "verdict": "accepted"}
    save_rows(second.layout.table("verdicts", second.id), "verdicts", [verdict], {})
    assert desk.apply("--only", "drop").exit_code == 0
    result = CliRunner().invoke(app, ["patch", "apply", second.id])
    assert f"the training data have changed since {second.id} was judged on them" in result.stderr
    with_first = parse_spec({**other.resolved, "patches": [desk.case.id]})
    third = case_at(desk.case.layout.home, with_first)
    third.register("finished")
    save_rows(third.layout.table("patch", third.id), "patch", [row], {})
    save_rows(third.layout.table("verdicts", third.id), "verdicts", [verdict], {})
    assert CliRunner().invoke(app, ["patch", "apply", third.id]).exit_code == 0
    assert changed_data(third.spec, third.layout, third.id) == []
    assert desk.changed() == ["dataset.train"]
