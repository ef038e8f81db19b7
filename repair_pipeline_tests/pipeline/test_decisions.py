"""What is decided about each row of a patch: its suggestion, a person's word, or an option that leaves it alone."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.decisions import Choice, RowDecision, changes, decide, edits, read_decisions
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import Dataset, Examples

CLASSES = ("cat", "dog", "owl")
IDS = tuple("abcdefgh")


def data(classes=CLASSES, ids=IDS):
    labels = torch.arange(len(ids)) % len(classes)
    rows = Examples(np.array(ids), torch.zeros(len(ids), 1), labels)
    return Dataset(rows, rows, classes, torch.zeros(1))


def row(example_id, action="drop", suggested=None, probability=None, rank=1, group="all"):
    return {
        "failure_group": group,
        "example_id": example_id,
        "action": action,
        "suggested_label": suggested,
        "label": CLASSES[IDS.index(example_id) % 3],
        "probability": probability,
        "rank": rank,
    }


PATCH = [
    row("a", probability=0.5, rank=1),
    row("b", "relabel", "cat", probability=0.95, rank=2),
    row("c", probability=None, rank=3),
    row("d", "relabel", "owl", probability=0.9, rank=4),
    row("e", probability=0.99, rank=5),
]


def changed(choice, patch=PATCH, by_person=None, proven=("all",)):
    return set(changes(decide(patch, proven, by_person or {}, choice, data()), patch)["example_id"].to_pylist())


@pytest.mark.parametrize("probability", [None, 0.0, 0.9, 1.0])
@pytest.mark.parametrize("only", [None, "drop", "relabel"])
@pytest.mark.parametrize("limit", [None, 1, 2, 10])
def test_each_option_leaves_just_the_rows_that_it_names(probability, only, limit):
    expected = [
        each
        for each in sorted(PATCH, key=lambda each: -1.0 if each["probability"] is None else each["probability"])[::-1]
        if (probability is None or (each["probability"] is not None and each["probability"] >= probability))
        and only in (None, each["action"])
    ][:limit]
    for order in itertools.islice(itertools.permutations(PATCH), 0, 120, 17):
        found = changed(Choice(probability, only, limit), list(order))
        assert found == {each["example_id"] for each in expected}


def test_without_probabilities_the_limit_takes_the_most_harmful():
    patch = [{**each, "probability": None} for each in PATCH]
    assert changed(Choice(limit=2), patch[::-1]) == {"a", "b"}
    earlier = [{name: value for name, value in each.items() if name != "probability"} for each in PATCH]
    assert changed(Choice(limit=3), earlier[::-1]) == {"a", "b", "c"}


def test_a_person_overrides_suggestions_options_and_verdicts_row_by_row():
    by_person = {
        "b": RowDecision("b", "keep", None, "decisions file", "kept by decisions file"),
        "c": RowDecision("c", "drop", None, "decisions file"),
        "h": RowDecision("h", "relabel", "cat", "patch.csv"),
    }
    for proven, choice, suggested in (
        (("all",), Choice(), {"a", "d", "e"}),
        (("all",), Choice(0.999), set()),
        (("all",), Choice(only="drop", limit=1), {"e"}),
        ((), Choice(), set()),
    ):
        assert changed(choice, by_person=by_person, proven=proven) == suggested | {"c", "h"}
    decided = decide(PATCH, (), by_person, Choice(), data())
    assert {decided[name].source for name in "ade"} == {"verdict"}
    rows = {each["example_id"]: each for each in changes(decided, PATCH).to_pylist()}
    assert rows["h"] == {"example_id": "h", "action": "relabel", "suggested_label": "cat", "label": None}
    assert rows["c"]["label"] == "owl"


def test_a_row_that_has_its_new_class_already_is_left_alone():
    decided = decide([], (), {"b": RowDecision("b", "relabel", "dog", "decisions file")}, Choice(), data())
    assert (decided["b"].decision, decided["b"].label) == ("keep", None)
    assert len(changes(decided, [])) == 0


def write(path, rows):
    frame = pd.DataFrame(rows)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_file_of_decisions_is_read_row_by_row(tmp_path, suffix):
    path = tmp_path / f"reviewed.{suffix}"
    frame = pd.DataFrame(
        {
            "example_id": ["h", "a", "b", "a"],
            "decision": ["relabel", " keep ", "drop", "keep"],
            "label": ["cat", None, None, None],
            "reviewer": ["ada", None, "bob", "bob"],
            "failure_group": [None, "all", None, None],
            "seconds": [1, 2, 3, 4],
        }
    )
    if suffix == "parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    read_rows = read_decisions(path, ("all",), data())
    assert {name: (each.decision, each.label, each.reviewer) for name, each in read_rows.items()} == {
        "h": ("relabel", "cat", "ada"),
        "a": ("keep", None, None),
        "b": ("drop", None, "bob"),
    }
    assert read_rows["a"].failure_group == "all"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("classes", "given"),
    [
        (("0", "1", "10"), [1, None]),  # image folders; pandas makes 1.0 of it beside a missing value
        (("000", "001", "010"), ["001", None]),
        (("000", "001", "010"), [1, None]),
        (("False", "True"), [True, None]),
        (("False", "True"), ["True", None]),
        (("no", "1.5"), [1.5, None]),
    ],
)
def test_a_class_is_known_by_its_name_however_the_file_writes_it(tmp_path, suffix, classes, given):
    path = tmp_path / f"reviewed.{suffix}"
    write(path, {"example_id": ["b", "a"], "decision": ["relabel", "drop"], "label": given})
    assert read_decisions(path, ("all",), data(classes))["b"].label == classes[1]


def test_bool_labels_of_a_csv_file_are_known_as_the_file_writes_them(tmp_path):
    (tmp_path / "train.csv").write_text("row,x,sick\na,0.5,true\nb,1.5,false\nc,2.5,true\n")
    (tmp_path / "test.csv").write_text("row,x,sick\nd,0.5,true\ne,1.5,false\n")
    rows = read(UserData("train.csv", "test.csv", label="sick", id="row"), tmp_path)
    file = tmp_path / "reviewed.csv"
    file.write_text("example_id,decision,label\nb,relabel,true\nc,drop,\n")
    found = read_decisions(file, ("all",), rows)
    assert rows.classes.index(found["b"].label) == int(rows.train.labels[0])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_that_look_like_numbers_are_known(tmp_path, suffix):
    file = write(tmp_path / f"reviewed.{suffix}", {"example_id": [7, 12], "decision": ["drop", "keep"]})
    assert set(read_decisions(file, ("all",), data(ids=("007", "012", "x")))) == {"007", "012"}


BAD = {
    "no decision": (
        {"example_id": ["a"], "action": ["drop"]},
        "has no column 'decision', only example_id, action: add",
    ),
    "no id": ({"row": ["a"], "decision": ["drop"]}, "has no column 'example_id'"),
    "no class": ({"example_id": ["a"], "decision": ["relabel"]}, "the label '': write drop or keep without a class"),
    "unknown ids": (
        {"example_id": ["a", "y", "z"], "decision": ["drop"] * 3},
        "2 rows that are none of the training data (y, z): take them out",
    ),
    "unknown class": (
        {"example_id": ["a"], "decision": ["relabel"], "label": ["fox"]},
        "row 'a' has the label 'fox', but the classes are cat, dog, owl: use one of them",
    ),
    "unknown group": (
        {"example_id": ["a"], "decision": ["drop"], "failure_group": ["A"]},
        "row 'a' has the failure_group 'A', but the case has all: use one",
    ),
    "unknown decision": ({"example_id": ["a"], "decision": ["delete"]}, "has the decision 'delete'"),
    "a class to drop": ({"example_id": ["a"], "decision": ["drop"], "label": ["owl"]}, "and the label 'owl'"),
    "both": (
        {"example_id": ["a", "b", "a"], "decision": ["keep", "drop", "drop"]},
        "says both keep and drop of the row 'a': leave one of them",
    ),
    "two classes": (
        {"example_id": ["a", "a"], "decision": ["relabel"] * 2, "label": ["owl", "dog"]},
        "says both relabel owl and relabel dog of the row 'a'",
    ),
    "no rows": ({"example_id": [], "decision": []}, "has no rows"),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("bad", BAD)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, bad, suffix):
    rows, says = BAD[bad]
    file = write(tmp_path / f"reviewed.{suffix}", rows)
    with pytest.raises(InputError) as caught:
        read_decisions(file, ("all",), data())
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist"):
        read_decisions(tmp_path / "nowhere.csv", ("all",), data())


def edited(tmp_path, rows, patch):
    layout = Layout(tmp_path)
    columns = ["failure_group", "example_id", "action", "suggested_label"]
    write_text(layout.patch("c", "patch.csv"), pd.DataFrame(rows)[columns].to_csv(index=False))
    groups = {each["failure_group"] for each in patch}
    return {name: each.decision for name, each in edits(layout, "c", patch, groups, data()).items()}


def test_only_edited_lines_of_the_patch_are_a_persons_decisions(tmp_path):
    assert edits(Layout(tmp_path), "c", PATCH, ("all",), data()) == {}
    assert edited(tmp_path, PATCH, PATCH) == {}
    rows = [{**PATCH[0], "action": "keep"}, *PATCH[1:4], row("g")]
    assert edited(tmp_path, rows, PATCH) == {"a": "keep", "e": "keep", "g": "drop"}


def test_a_row_is_taken_out_where_no_group_names_it_any_more(tmp_path):
    patch = [row("a", group="A"), row("a", group="B"), row("b", group="B")]
    assert edited(tmp_path, patch[1:], patch) == {}
    assert edited(tmp_path, patch[2:], patch) == {"a": "keep"}
    assert edited(tmp_path, [{**patch[0], "action": "keep"}, *patch[1:]], patch) == {"a": "keep"}


def test_decisions_do_not_depend_on_how_parquet_stores_them(tmp_path):
    kinds = pa.table({"example_id": ["a", "b"], "decision": ["drop", "relabel"], "label": ["", "owl"]})
    coded = pa.table({name: kinds[name].dictionary_encode() for name in kinds.column_names})
    for number, table in enumerate((kinds, coded)):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    first, second = (read_decisions(tmp_path / f"{number}.parquet", ("all",), data()) for number in range(2))
    assert first == second
    assert (first["a"].label, first["b"].label) == (None, "owl")
