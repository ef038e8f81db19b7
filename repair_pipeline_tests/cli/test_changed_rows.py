"""What the owner changes beside a patch: before it is applied, after it, and while its process is killed."""

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from repair_pipeline.cli.main import app
from repair_pipeline.datasets import applications
from repair_pipeline.pipeline import decisions
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline_tests.cli.desk import KINDS, Desk, files, pictures


def change(folder, dataset, at, **values):
    """The owner changes a row of a table."""
    path = folder / dataset.train
    rows = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    for name, value in values.items():
        rows.loc[at, name] = value
    rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path, index=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_were_changed_since_they_were_judged_are_left_alone_and_listed(folder, kind):
    desk = Desk(folder, KINDS[kind](folder))
    desk.store()
    dataset = desk.case.spec.dataset
    change(folder, dataset, 0, label="yes")  # to drop
    change(folder, dataset, 1, x=77.0)  # to relabel
    change(folder, dataset, 2, row="moved")  # to drop
    change(folder, dataset, 7, x=55.0)  # not in the patch
    change(folder, dataset, 8, row="added", x=9.0, label="no")
    result = desk.apply()
    assert result.exit_code == 0, result.output
    others = "a is yes, was no, b has other inputs, c is gone"
    assert f"rows that were changed since {desk.case.id} was judged: {others}\n" in result.stdout
    assert "1 rows dropped, 1 relabelled, 3 left alone (3 changed since they were judged)" in result.stdout
    assert desk.rows() == {
        **{"a": "yes", "b": "yes", "moved": "no", "d": "no", "f": "yes", "g": "no", "h": "yes", "added": "no"}
    }
    sources = {row["example_id"]: (row["decision"], row["source"]) for row in desk.ask()}
    assert {name for name, said in sources.items() if said == ("keep", "data")} == {"a", "b", "c"}


def test_a_person_does_not_decide_about_a_row_that_she_has_changed_since(csv, folder):
    csv.store()
    change(folder, csv.case.spec.dataset, 1, label="no")
    (folder / "reviewed.csv").write_text("example_id,decision\nb,drop\nh,drop\n")
    result = csv.apply("--decisions", "reviewed.csv", "--limit", "1")
    assert "was judged: b is no, was yes\n" in result.stdout
    assert (
        "2 rows dropped, 0 relabelled, 4 left alone (3 beyond --limit 1, 1 changed since they were judged)"
        in result.stdout
    )
    assert list(csv.rows()) == list("abcdfg")


def test_images_that_were_changed_since_are_left_alone(folder):
    desk = Desk(folder, pictures(folder))
    files = [folder / "train" / name for name in desk.paths()]
    Image.new("L", (4, 4), 249).save(files[0])
    other = {"no": "yes", "yes": "no"}[files[1].parent.name]
    files[1].rename(folder / "train" / other / "mended.png")
    result = desk.apply()
    assert f"{desk.ids[0]} is gone, {desk.ids[1]} is {other}, was {files[1].parent.name}" in result.stdout
    assert "2 rows dropped, 1 relabelled, 2 left alone (2 changed since they were judged)" in result.stdout


def test_unchanged_inputs_in_another_order_are_no_conflict(csv, folder):
    csv.store()
    rows = pd.read_csv("train.csv")[::-1]
    rows.to_csv("train.csv", index=False)
    result = csv.apply()
    assert "3 rows dropped, 2 relabelled, 0 left alone" in result.stdout
    assert list(csv.rows()) == list("hgfdb")


def test_a_revert_keeps_what_was_added_and_changed_after_the_patch(csv, folder):
    given = pd.read_csv("train.csv").set_index("row")
    assert csv.apply().exit_code == 0
    patched = pd.read_csv("train.csv")
    patched.loc[patched.row == "b", "x"] = 123.0  # a relabelled row
    added = pd.DataFrame({"row": ["mine"], "x": [4.5], "label": ["no"]})
    pd.concat([patched, added]).to_csv("train.csv", index=False)
    result = CliRunner().invoke(app, ["patch", "revert", csv.case.id])
    assert result.exit_code == 0
    assert "train.csv: it was changed after the patch of" in result.stdout
    assert "1 rows of the patch were changed too, and are left alone: b\n" in result.stdout
    reverted = pd.read_csv("train.csv").set_index("row")
    assert sorted(reverted.index) == sorted([*"abcdefgh", "mine"])
    expected = pd.concat([given, added.set_index("row")])
    expected.loc["b"] = [123.0, "no"]
    pd.testing.assert_frame_equal(reverted.sort_index(), expected.sort_index())
    assert csv.changed() == ["dataset.train"]


def test_a_patch_that_was_killed_is_undone_by_the_next_command(desk, folder, monkeypatch, caplog):
    before = files(folder)

    class Killed(BaseException):
        pass

    def dead(*_):
        raise Killed

    with monkeypatch.context() as context:

        def killed(*_):
            context.setattr(applications, "read_record", dead)
            raise Killed

        context.setattr(decisions, "save_rows", killed)
        with pytest.raises(Killed):
            desk.apply()
    assert files(folder) != before
    require_runnable(desk.case)
    assert files(folder) == before
    assert f"the patch of {desk.case.id} was cut off, and is undone" in caplog.text
    assert desk.apply().exit_code == 0
