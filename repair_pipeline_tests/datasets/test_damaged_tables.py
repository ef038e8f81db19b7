"""Tables as owners have them: each is read right, or refused in one line that says what, where, and what to do."""

import gzip
import os
import unicodedata
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.datasets.failures_list import read_failures
from repair_pipeline.datasets.table_files import read_table
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

FILES = ("train.parquet", "test.parquet")


def written(folder, train, test=None, **fields):
    """Both files with a feature ``a`` and labels, and these columns beside or instead."""
    for name, own, start in (("train", train, 0.0), ("test", train if test is None else test, 9.0)):
        rows = {"a": [start, start + 1, start + 2, start + 3], "label": ["no", "yes"] * 2}
        pq.write_table(pa.table({**rows, **own}), folder / f"{name}.parquet")
    return UserData(*FILES, **fields)


def refused(spec, folder):
    with pytest.raises(InputError) as caught:
        read(spec, folder).train.in_memory()
    assert "\n" not in str(caught.value)
    return str(caught.value)


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 4, pa.array([b"b", b"\xff", b"c", b"d"]).buffers())
FAR = pa.array([2**62, 1, 2, 3]).cast(pa.timestamp("us"))
NOWHERE = pa.array([0, 1, 2, 3]).cast(pa.timestamp("ms", tz="Mars/Base"))
VECTORS = pa.list_(pa.float32())
WRONG = {
    "a feature that is missing": ({"b": [1, None, 2, 3]}, {}, "feature 'b' of row 1 is missing: fix or drop the row"),
    "a feature that is infinite": ({"b": [1, 2, float("inf"), 3]}, {}, "feature 'b' of row 2 is inf: fix"),
    "a feature beyond a float32": ({"b": [1, 1e39, 2, 3]}, {}, "feature 'b' of row 1 is 1e+39, beyond what a float32"),
    "a vector that is missing": ({"v": pa.array([None, [1.0], [2], [3]], VECTORS)}, {"features": ["v"]}, "null in row"),
    "vectors without numbers": ({"v": pa.array([[], [], [], []], VECTORS)}, {"features": ["v"]}, "has 0 numbers in"),
    "a label far off": ({"label": FAR}, {}, "'label' of type timestamp[us] has a value that cannot be read"),
    "a zone that is none": ({"t": NOWHERE}, {}, "tz=Mars/Base] has a value that cannot be read"),
    "text that is not UTF-8": ({"t": NOT_UTF8}, {}, "the column 't' is damaged"),
    "a label that is not UTF-8": ({"label": NOT_UTF8}, {}, "the column 'label' is damaged"),
    "bytes as labels": ({"label": pa.array([b"a", b"b"] * 2, pa.binary_view())}, {}, "'label' holds bytes"),
    "an empty label": ({"label": ["", "x", "x", ""]}, {}, "'label' is empty in 2 rows (0, 3): fix or drop them"),
    "no id": ({"pid": ["1", None, "2", "3"]}, {"id": "pid"}, "the id 'pid' of row 1 is missing: fix or drop the row"),
    "an id that is NaN": ({"pid": [1, float("nan"), 2, 3]}, {"id": "pid"}, "the id 'pid' of row 1 is missing"),
    "an empty id": ({"pid": ["1", "2", "", "3"]}, {"id": "pid"}, "the id 'pid' of row 2 is missing"),
    "an id with a zero": ({"pid": ["a", "a\0", "b", "c"]}, {"id": "pid"}, "the id 'pid' of row 1 is not text"),
    "bytes as ids": ({"pid": [b"a", b"b", b"c", b"d"]}, {"id": "pid"}, "'pid' holds binary: give ids as text"),
    "lists as ids": ({"pid": [[1], [2], [3], [4]]}, {"id": "pid"}, "'pid' holds list<element: int64>: give ids"),
    "paths as images": ({"image": ["x.png"] * 4}, {"image": "image"}, "dataset.image is 'image', which holds string"),
    "no number": ({"a": ["1,5", "2", "3", "4"]}, {}, "no numeric column, but a (string): set dataset.image,"),
}  # fmt: skip


def test_a_single_class_is_refused(tmp_path):
    says = "the training rows have only one class (no): give two or more"
    assert says in refused(written(tmp_path, {"label": ["no"] * 4}), tmp_path)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_value_that_cannot_be_used_is_named_with_its_column_and_row(tmp_path, wrong):
    columns, fields, message = WRONG[wrong]
    assert message in refused(written(tmp_path, columns, **fields), tmp_path)


ROLES = {
    "a feature twice": ({"features": ["a", "a"]}, "dataset.features: 'a' is listed 2 times"),
    "metadata twice": ({"metadata": ["a", "a"]}, "dataset.metadata: 'a' is listed 2 times"),
    "a class twice": ({"classes": ["a", "b", "a"]}, "dataset.classes: 'a' is listed 2 times"),
    "a class as number and text": ({"classes": [1.0, "1"]}, "dataset.classes: '1' is listed 2 times"),
    "no features": ({"features": []}, "dataset.features: the list is empty: name some, or leave the key out"),
    "no classes": ({"classes": []}, "dataset.classes: the list is empty"),
    "the label as feature": ({"features": ["a", "label"]}, "dataset: features names the label 'label'"),
    "the label as id": ({"id": "label"}, "dataset: id names the label 'label'"),
    "the label as image": ({"image": "label"}, "dataset: image names the label 'label'"),
    "images and features": ({"image": "i", "features": ["a"]}, "dataset: image and features are both given"),
}


@pytest.mark.parametrize("roles", ROLES)
def test_columns_have_one_role_each(roles):
    fields, message = ROLES[roles]
    with pytest.raises(InputError, match=message):
        parse_spec({"name": "x", "dataset": {"train": "a", "test": "b", **fields}, "model": {"factory": "a:b"}})


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", "y", "x", None], pa.string_view()),
        pa.array(["x", "y", "x", None], pa.large_string()),
        pa.array(["x", "y", "x", None]).dictionary_encode(),
    ],
    ids=["view", "large", "dictionary"],
)
def test_text_is_text_however_arrow_holds_it(tmp_path, values):
    spec = written(tmp_path, {"own": values, "label": pa.array(["x", "y"] * 2).cast(pa.large_string())})
    data = read(spec, tmp_path)
    assert data.metadata["own"].to_pylist() == ["x", "y", "x", None] * 2
    assert data.classes == ("x", "y")


def test_bytes_are_no_metadata_unless_they_are_asked_for(tmp_path):
    spec = written(tmp_path, {"raw": [b"\xff"] * 4}, features=("a",))
    assert read(spec, tmp_path).metadata is None
    asked = UserData(*FILES, features=("a",), metadata=("raw",))
    assert read(asked, tmp_path).metadata["raw"].to_pylist() == [str(b"\xff")] * 8


def test_an_id_of_bytes_is_not_taken_for_an_image(tmp_path):
    spec = written(tmp_path, {"raw": [b"a", b"b", b"c", b"d"]}, metadata=("raw",))
    assert read(spec, tmp_path).features == ("a",)


def test_the_id_may_be_metadata_too(tmp_path):
    ids = [{"pid": [f"{part}{at}" for at in range(4)]} for part in "tv"]
    data = read(written(tmp_path, *ids, id="pid", metadata=("pid",)), tmp_path)
    assert data.metadata.column_names == ["example_id", "pid"]


# Classes: one name, however it is written.


@pytest.mark.parametrize("declared", [None, ("b", unicodedata.normalize("NFD", "é")), ("b", "é")])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_class_is_one_in_all_forms_of_unicode(tmp_path, declared, form):
    labels = [{"label": [unicodedata.normalize(one, "é"), "b"] * 2} for one in ("NFC", form)]
    data = read(written(tmp_path, *labels, classes=declared), tmp_path)
    assert data.classes == ("b", "é")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [1, 0, 1, 0]


TRUTH = {"truth": [True, False] * 2, "text": ["true", "false"] * 2, "pandas": ["True", "False"] * 2}


@pytest.mark.parametrize("test", TRUTH)
@pytest.mark.parametrize("train", TRUTH)
def test_truth_is_a_class_however_it_is_written(tmp_path, train, test):
    data = read(written(tmp_path, {"label": TRUTH[train]}, {"label": TRUTH[test]}), tmp_path)
    assert data.train.labels.tolist() == data.test.labels.tolist() == [1, 0, 1, 0]


def test_classes_are_declared_as_a_csv_file_writes_them(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"a,label\n{len(name)},02\n2,01\n")
    assert read(UserData("train.csv", "test.csv", classes=("01", "02")), tmp_path).train.labels.tolist() == [1, 0]
    message = refused(UserData("train.csv", "test.csv", classes=("01", "001")), tmp_path)
    assert "training row 0 has the label 2, but the classes are 01, 001" in message


def test_names_are_shown_cut_and_without_control_characters(tmp_path):
    spec = written(tmp_path, {"label": ["a\n\x1b[2J", "b" * 500] * 2}, {"label": ["c" * 500] * 4})
    message = refused(spec, tmp_path)
    assert r"the classes are 'a\n\x1b[2J', " + "b" * 60 + "…" in message
    assert len(message) < 400


# Metadata of other programs.


@pytest.mark.parametrize(
    ("program", "content", "message"),
    [
        ("huggingface", "{", "has metadata of huggingface that are not JSON: write the file again"),
        ("pandas", "{", "has metadata of pandas that are not JSON"),
        (
            "huggingface",
            '{"info": {"features": {"label": {"names": ["x", "x"]}}}}',
            "two of the classes have the name",
        ),
    ],
)
def test_damaged_metadata_are_refused(tmp_path, program, content, message):
    for name in FILES:
        table = pa.table({"a": [1.0, 2.0], "label": [0, 1]})
        pq.write_table(table.replace_schema_metadata({program: content}), tmp_path / name)
    assert message in refused(UserData(*FILES), tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", '{"info": [1]}', '{"info": {"features": {"label": {"names": "ab"}}}}'])
@pytest.mark.parametrize("program", ["huggingface", "pandas"])
def test_metadata_of_another_layout_say_nothing(tmp_path, program, content):
    for name in FILES:
        table = pa.table({"a": [1.0, 2.0], "label": [0, 1]})
        pq.write_table(table.replace_schema_metadata({program: content}), tmp_path / name)
    assert read(UserData(*FILES), tmp_path).classes == ("0", "1")


# CSV files.


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,label\n1,x\n2,y\n",
        b"a,label\r1,x\r2,y\r",
        b"\na,label\n\n1,x\n\n2,y\n",
        b'a,label\r\n"1","x"\r\n2,"y"',
    ],
    ids=["byte order mark", "old Mac", "empty lines", "quotes"],
)
def test_csv_files_of_other_programs_are_read(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    data = read(UserData("a.csv", "a.csv"), tmp_path)
    assert (data.features, data.train.inputs.tolist(), data.classes) == (("a",), [[1], [2]], ("x", "y"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'a,label\n1,x\n2,"y\n3,x\n4,y\n', "the quote that begins in line 3 is not closed"),
        (b'a,label\n1,"x\n' + b"2,y\n" * 100_000, "the quote that begins in line 2 is not closed"),
        (gzip.compress(b"a,label\n1,x\n", mtime=0), "is compressed by gzip: give it a name that ends in .gz"),
        (b"PK\x03\x04 and so on", "is a zip archive or an Excel file: unpack it, or save it as CSV"),
        (b"PAR1 and so on", "is a Parquet file: give it a name that ends in .parquet"),
        ("a,label\n1,x\n".encode("utf-16-le"), "its header has zero bytes: save it as UTF-8"),
        (b"a, label\n1, x\n2, y\n", "has no column 'label': it has a, ' label'; set dataset.label"),
        (b"a,label\n1,\n2,x\n3,\n", "'label' is empty in 2 rows (0, 2)"),
        (b"a,label\n1,x\n,y\n", "feature 'a' of row 1 is missing"),
        (b"a,label\n1,x\n?,y\n", "no numeric column, but a (string)"),
    ],
)
def test_a_csv_file_that_would_be_misread_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    assert message in refused(UserData("a.csv", "a.csv"), tmp_path)


@pytest.mark.parametrize(
    "content", [b'a,b\n5" pipe,x\n', b'a,b\n"6"" pipe",x\n', b'a,b\n1,"x\ny"\n', b'a,b\n1,"x,""y"""\n']
)
def test_quotes_that_are_closed_or_stand_inside_are_read(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    assert len(read_table(tmp_path / "a.csv")) == 1


TWO = {
    "text in the test file": (b"a,b,label\n1,1,x\n2,2,y\n", b"a,b,label\n1,1,x\n2,n/k,y\n",
                              "'b' is a number in train.csv and not in test.csv (row 1 has 'n/k'): fix the column"),
    "text in the training file": (b"a,b,label\n1,n/k,x\n2,2,y\n", b"a,b,label\n1,1,x\n2,3,y\n",
                                  "'b' is a number in test.csv and not in train.csv (row 0 has 'n/k')"),
    "no such column": (b"a,b,label\n1,1,x\n2,2,y\n", b"a,label\n1,x\n2,y\n",
                       "train.csv has the feature 'b', test.csv no such column: set dataset.features"),
}  # fmt: skip


@pytest.mark.parametrize("two", TWO)
def test_a_feature_of_one_file_alone_is_refused_by_name(tmp_path, two):
    train, test, message = TWO[two]
    (tmp_path / "train.csv").write_bytes(train)
    (tmp_path / "test.csv").write_bytes(test)
    assert message in refused(UserData("train.csv", "test.csv"), tmp_path)


def test_the_features_of_both_files_are_in_the_order_of_the_first(tmp_path):
    (tmp_path / "train.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")
    (tmp_path / "test.csv").write_text("label,b,a\nx,20,10\n")
    data = read(UserData("train.csv", "test.csv"), tmp_path)
    assert (data.features, data.test.inputs.tolist()) == (("a", "b"), [[10, 20]])


def test_vectors_of_two_lengths_and_files_of_two_kinds_are_refused(tmp_path):
    spec = written(tmp_path, {"v": [[1.0, 2]] * 4}, {"v": [[1.0]] * 4}, features=("v",))
    assert "v give 2 numbers a training row and 1 a test row: give the vectors one length" in refused(spec, tmp_path)
    spec = written(tmp_path, {"image": [b"x"] * 4}, {})
    assert "train.parquet has images and test.parquet features" in refused(spec, tmp_path)


# Files and folders.


def test_what_is_no_file_is_refused_and_read_by_nobody(tmp_path):
    written(tmp_path, {})
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "gone.parquet").symlink_to(tmp_path / "nowhere")
    with zipfile.ZipFile(tmp_path / "train.csv.zip", "w") as archive:
        archive.writestr("train.csv", "a,label\n1,x\n")
    (tmp_path / "empty.parquet").write_bytes(b"")
    for name, message in (
        ("pipe.csv", "is neither a file nor a folder: give a .parquet, .csv, .tsv or .jsonl file, or a folder"),
        ("gone.parquet", "gone.parquet does not exist: give dataset.train relative to"),
        ("x" * 5000, "does not exist: give dataset.train relative to"),
        ("x\0y", "does not exist: give dataset.train relative to"),
        ("train.csv.zip", "is an archive: unpack it, and give the table in it"),
        ("empty.parquet", "cannot be read"),
    ):
        assert message in refused(UserData(name, "test.parquet"), tmp_path)
    with pytest.raises(InputError, match="is neither a file nor a folder"):
        read_failures(tmp_path / "pipe.csv", np.array(["a"]), None, None)


def test_a_folder_of_parquet_files_is_read_whole_or_refused(tmp_path):
    written(tmp_path, {})
    parts = tmp_path / "parts"
    parts.mkdir()
    (tmp_path / "train.parquet").rename(parts / "0.parquet")
    (parts / "._0.parquet").write_bytes(b"macOS")
    (parts / ".DS_Store").write_bytes(b"macOS")
    assert len(read(UserData("parts", "test.parquet"), tmp_path).train) == 4
    (parts / "site=B").mkdir()
    pd.DataFrame({"a": [1.0], "label": ["no"]}).to_parquet(parts / "site=B" / "0.parquet")
    assert "has Parquet files in folders too (site=B/0.parquet)" in refused(UserData("parts", "test.parquet"), tmp_path)
    (parts / "0.parquet").unlink()
    assert "nor folders of images, but " in refused(UserData("parts", "test.parquet"), tmp_path)


def test_parts_that_lack_the_images_are_refused(tmp_path):
    written(tmp_path, {"image": [b"x"] * 4})
    parts = tmp_path / "parts"
    parts.mkdir()
    table = pq.read_table(tmp_path / "train.parquet")
    pq.write_table(table, parts / "0.parquet")
    pq.write_table(table.drop(["image"]), parts / "1.parquet")
    assert "1.parquet has the columns a, label, the first" in refused(UserData("parts", "test.parquet"), tmp_path)


def test_a_file_that_is_damaged_behind_its_first_rows_is_refused(tmp_path):
    written(tmp_path, {"image": [bytes(range(256)) * 40] * 4})
    content = bytearray((tmp_path / "train.parquet").read_bytes())
    at = content.index(bytes(range(64, 128)))
    content[at - 100 : at + 300] = b"\xff" * 400
    (tmp_path / "train.parquet").write_bytes(bytes(content))
    assert "train.parquet cannot be read" in refused(UserData(*FILES), tmp_path)
