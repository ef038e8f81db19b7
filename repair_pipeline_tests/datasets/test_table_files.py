"""Malformed tables, index columns, vector columns and id columns."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from repair_pipeline.datasets.failures_list import read_failures
from repair_pipeline.datasets.table_files import delimiter, read_table
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

ROWS = pd.DataFrame({"a": [0.5, 1.5, 2.5, 3.5], "b": [3, 1, 4, 1], "label": ["no", "yes", "no", "yes"]})


def tables(folder, train, test=None, **how):
    """train and test as Parquet, as ``how`` asks, with or without the index."""
    train.to_parquet(folder / "train.parquet", **how)
    (ROWS.assign(a=-ROWS.a) if test is None else test).to_parquet(folder / "test.parquet", **how)
    return UserData("train.parquet", "test.parquet")


@pytest.mark.parametrize(
    "name", ["train.csv", "train.CSV", "train.csv.gz", "train.tsv", "train.TSV.gz", "train.csv.bz2"]
)
def test_a_table_of_text_is_read_by_its_name_whatever_its_case(tmp_path, name):
    separator = "\t" if "tsv" in name.lower() else ","
    plain = tmp_path / "plain"
    ROWS.to_csv(plain, index=False, sep=separator)
    with pa.output_stream(
        str(tmp_path / name), compression={"gz": "gzip", "bz2": "bz2"}.get(name[-3:].strip("."))
    ) as to:
        to.write(plain.read_bytes())
    assert delimiter(Path(name)) == separator
    assert read_table(tmp_path / name).to_pydict() == ROWS.to_dict("list")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a;b;label\n1,5;2;yes\n", "separates columns by semicolons: save it with commas and decimal points"),
        (b"a\tb\tlabel\n1\t2\tyes\n", "separates columns by tabs"),
        (b"a,b\n1,2\n3\n", "cannot be read"),
        ("site,a\nKöln,1\n".encode("latin-1"), r"train.csv is not UTF-8 \(column site, row 0\)"),
        ("a,site\n1,Bonn\n2,Köln\n".encode("cp1252"), r"is not UTF-8 \(column site, row 1\)"),
        ("größe,a\n1,1\n".encode("latin-1"), r"is not UTF-8 \(its header\)"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b"\nf\xe9,label\n1,a\n", r"is not UTF-8 \(its header\)"),
        (b'"f\nx\xe9",label\n1,a\n', r"is not UTF-8 \(its header\)"),
        (b"f,label,t\n1,a," + b"x" * 140_000 + b"\n2,b,caf\xe9\n", r"train\.csv is not UTF-8: save it as UTF-8"),
        (b"a,b,a\n1,2,3\n", "has the column 'a' 2 times"),
        (b"a,b\n", "has no rows"),
        (b"", "cannot be read"),
    ],
)
def test_a_malformed_csv_file_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(tmp_path / "train.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.txt", "rows.json", "rows.xlsx", "rows", "rows.parquet"])
def test_other_files_are_refused_with_the_formats_that_are_read(tmp_path, name):
    (tmp_path / name).write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"give a \.parquet, \.csv, \.tsv or \.jsonl file"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("address", ["s3://bucket/train.parquet", "hf://datasets/a/b.parquet", "https://a.org/b.csv"])
def test_a_url_is_refused(tmp_path, address):
    with pytest.raises(InputError, match=f"dataset.train is '{address}', which is a URL: download it first"):
        read(UserData(address, "test.parquet"), tmp_path)


def test_a_column_twice_is_refused(tmp_path):
    table = pa.Table.from_pandas(ROWS, preserve_index=False)
    pq.write_table(table.append_column("a", table["a"]), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="has the column 'a' 2 times: rename or drop all but one"):
        read(UserData("train.parquet", "train.parquet"), tmp_path)


def test_parts_of_a_folder_may_differ_in_kind_and_not_in_columns(tmp_path):
    (tmp_path / "train").mkdir()
    ROWS[:2].to_parquet(tmp_path / "train" / "0.parquet", index=False)
    ROWS[2:].assign(b=[0.25, 0.5]).to_parquet(tmp_path / "train" / "1.PARQUET", index=False)
    assert read_table(tmp_path / "train")["b"].to_pylist() == [3.0, 1.0, 0.25, 0.5]
    ROWS[["a", "label"]].to_parquet(tmp_path / "train" / "2.parquet", index=False)
    with pytest.raises(InputError, match=r"2\.parquet has the columns a, label, the first file of the folder has a, b"):
        read_table(tmp_path / "train")


INDEXES = {
    "shuffled": lambda rows: rows.sample(frac=1, random_state=1),
    "named": lambda rows: rows.set_index(pd.Index([7, 9, 8, 11], name="visit")),
    "two levels": lambda rows: rows.set_index([pd.Index(range(4)), pd.Index(range(4))]),
    "read again from CSV": lambda rows: rows.assign(**{"Unnamed: 0": range(4)}),
}


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_pandas_wrote_is_not_a_feature(tmp_path, index):
    rows = INDEXES[index](ROWS)
    data = read(tables(tmp_path, rows, INDEXES[index](ROWS.assign(a=-ROWS.a))), tmp_path)
    assert data.train.inputs.tolist() == rows[["a", "b"]].to_numpy().tolist()
    known = [] if data.metadata is None else data.metadata.column_names
    assert known == (["example_id", "visit"] if index == "named" else [])


def test_an_index_may_be_the_id_and_a_feature_that_is_asked_for(tmp_path):
    named = [ROWS.set_index(pd.Index([f"{part}{at}" for at in range(4)], name="pid")) for part in ("t", "v")]
    spec = tables(tmp_path, *named)
    assert read(UserData(spec.train, spec.test, id="pid"), tmp_path).train.ids.tolist() == ["t0", "t1", "t2", "t3"]
    spec = tables(tmp_path, ROWS.assign(**{"Unnamed: 0": range(4)}), ROWS.assign(**{"Unnamed: 0": range(4)}))
    data = read(UserData(spec.train, spec.test, features=("a", "Unnamed: 0")), tmp_path)
    assert data.train.inputs[:, 1].tolist() == [0, 1, 2, 3]


def test_an_unnamed_first_column_of_a_csv_file_is_an_index_too(tmp_path):
    ROWS.to_csv(tmp_path / "train.csv")
    ROWS.to_csv(tmp_path / "test.csv")
    data = read(UserData("train.csv", "test.csv"), tmp_path)
    assert data.train.inputs.tolist() == ROWS[["a", "b"]].to_numpy().tolist()
    assert data.metadata is None


VECTORS = [[0.5, 1.0, -2.0], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
LISTS = {
    "list": pa.array(VECTORS, pa.list_(pa.float32())),
    "large list": pa.array(VECTORS, pa.large_list(pa.float64())),
    "fixed size": pa.array(VECTORS, pa.list_(pa.float16(), 3)),
    "integers": pa.array([[int(value * 2) for value in row] for row in VECTORS], pa.list_(pa.int32())),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(VECTORS, dtype=np.float32)),
}


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", LISTS)
def test_a_column_of_vectors_is_read_as_that_many_features(tmp_path, kind, named):
    table = pa.table({"embedding": LISTS[kind], "label": ["no", "yes"] * 2})
    pq.write_table(table, tmp_path / "train.parquet")
    pq.write_table(table.slice(1, 2), tmp_path / "test.parquet")
    spec = UserData("train.parquet", "test.parquet", features=("embedding",) if named else None)
    expected = torch.tensor(VECTORS) * (2 if kind == "integers" else 1)
    data = read(spec, tmp_path)
    assert torch.equal(data.train.inputs, expected)
    assert torch.equal(data.test.inputs, expected[1:3])
    assert len(data.also_in_training) == 2


def test_vectors_stand_beside_numbers_where_both_are_named(tmp_path):
    table = pa.table({"age": [1, 2, 3, 4], "embedding": LISTS["list"], "label": ["no", "yes"] * 2})
    pq.write_table(table, tmp_path / "train.parquet")
    both = UserData("train.parquet", "train.parquet", features=("embedding", "age"))
    assert read(both, tmp_path).train.inputs.tolist() == [[*row, at + 1] for at, row in enumerate(VECTORS)]
    assert read(UserData("train.parquet", "train.parquet"), tmp_path).train.inputs.tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32())), "has 2 numbers in row 0 and 1 numbers in row 1"),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32())), "has 2 numbers in row 0 and null in row 1"),
        (pa.array([[1.0, 2.0], [1.0, None]], pa.list_(pa.float32())), "feature 'v' of row 1 is nan"),
        (pa.array([[[1.0]], [[2.0]]]), "the feature 'v' is not numeric"),
        (pa.array([["a"], ["b"]]), "the feature 'v' is not numeric"),
        (pa.array([0, 1]).cast(pa.timestamp("s")), "the feature 'v' is not numeric"),
        (pa.array([{"a": 1}] * 2), "the feature 'v' is not numeric"),
        (pa.array(["x", "y"]), "the feature 'v' is not numeric"),
    ],
)
def test_a_feature_that_is_not_numeric_is_refused_by_name(tmp_path, column, message):
    pq.write_table(pa.table({"w": [1.0, 2.0], "v": column, "label": ["a", "b"]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=message) as caught:
        read(UserData("train.parquet", "train.parquet", features=("w", "v")), tmp_path)
    assert "\n" not in str(caught.value)


OTHER_KINDS = {
    "text and number": (["r1", "r2"], [1, 2], ["r1", "r2", "1", "2"]),
    "number and nothing": ([1.5, 2.5], [None, None], [1.5, 2.5, None, None]),
    "nothing and truth": ([None, None], [True, False], [None, None, True, False]),
    "nothing at all": ([None, None], [None, None], [None] * 4),
    "truth and text": ([True, False], ["x", "y"], ["true", "false", "x", "y"]),
    "truth and number": ([True, False], [1, 2], ["true", "false", "1", "2"]),
    "whole and half": ([1, 2], [0.5, 1.5], [1.0, 2.0, 0.5, 1.5]),
    "list and number": ([[1], [2]], [1, 2], ["[1]", "[2]", "1", "2"]),
}


@pytest.mark.parametrize("kinds", OTHER_KINDS)
def test_a_column_of_two_kinds_is_text(tmp_path, kinds):
    train, test, expected = OTHER_KINDS[kinds]
    for name, column, at in (("train", train, 0.0), ("test", test, 5.0)):
        table = pa.table({"x": [at, at + 1], "label": ["a", "b"], "own": column})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    spec = UserData("train.parquet", "test.parquet", features=("x",))
    assert read(spec, tmp_path).metadata["own"].to_pylist() == expected


@pytest.mark.parametrize(("train", "test"), [([1, 2], ["T1", "T2"]), ([1, 2], [3, 4]), (["1", "2"], [3, 4])])
def test_ids_may_be_of_two_kinds(tmp_path, train, test):
    for name, ids, at in (("train", train, 0.0), ("test", test, 5.0)):
        pq.write_table(pa.table({"x": [at, at + 1], "label": ["a", "b"], "pid": ids}), tmp_path / f"{name}.parquet")
    data = read(UserData("train.parquet", "test.parquet", id="pid"), tmp_path)
    assert [*data.train.ids, *data.test.ids] == [*map(str, train), *map(str, test)]


IDS = {
    "padded": ["001001", "001002", "000003"],
    "long": ["12345678901234567891", "12345678901234567892", "12345678901234567893"],
    "like powers": ["12e3", "13e3", "1e2"],
    "times": ["2024-01-01T00:16:40", "2024-01-01T00:16:41", "2024-01-02T00:00:00"],
    "dates": ["2024-01-01", "2024-01-02", "2024-01-03"],
    "truth": ["true", "false", "True"],
    "none": ["NA", "null", "nan"],
    "numbers": ["7", "8", "9"],
}


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "tsv", "parquet"])
@pytest.mark.parametrize("ids", IDS)
def test_a_list_names_rows_by_the_text_of_their_ids(tmp_path, ids, suffix):
    rows = pd.DataFrame({"pid": IDS[ids][:2]})
    path = tmp_path / f"list.{suffix}"
    rows.to_parquet(path) if suffix == "parquet" else rows.to_csv(
        path, index=False, sep="\t" if suffix == "tsv" else ","
    )
    assert read_failures(path, np.array(IDS[ids]), None, "pid").tolist() == IDS[ids][:2]


@pytest.mark.parametrize("ids", IDS)
def test_a_csv_file_of_data_has_ids_of_text(tmp_path, ids):
    rows = pd.DataFrame({"pid": IDS[ids], "x": [0.0, 1, 2], "label": ["a", "b", "a"]})
    rows.to_csv(tmp_path / "train.csv", index=False)
    rows.assign(pid="T" + rows.pid).to_csv(tmp_path / "test.csv", index=False)
    data = read(UserData("train.csv", "test.csv", id="pid"), tmp_path)
    assert data.train.ids.tolist() == IDS[ids]
    assert data.metadata["pid"].to_pylist() == [*IDS[ids], *(f"T{name}" for name in IDS[ids])]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_id_that_pandas_read_as_a_number_is_matched_if_unique(tmp_path, suffix):
    path = tmp_path / f"list.{suffix}"
    listed = pd.DataFrame({"pid": [37]})
    listed.to_parquet(path) if suffix == "parquet" else listed.to_csv(path, index=False)
    assert read_failures(path, np.array(["00037", "00038"]), None, "pid").tolist() == ["00037"]
    with pytest.raises(InputError, match="lists the pid '37', which no test row has"):
        read_failures(path, np.array(["00037", "037"]), None, "pid")


@pytest.mark.parametrize("listed", ["001", "1.0", "1"])
def test_a_number_is_listed_however_it_is_written(tmp_path, listed):
    path = tmp_path / "list.csv"
    path.write_text(f"pid\n{listed}\n")
    assert read_failures(path, np.array(["1", "2"]), None, "pid").tolist() == ["1"]


def test_a_row_listed_twice_is_refused_in_a_list_and_counted_once_in_a_report(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("pid\na\nb\na\n")
    with pytest.raises(InputError, match="lists the pid 'a' 2 times: list each failure once"):
        read_failures(path, np.array(["a", "b"]), None, "pid")
    assert read_failures(path, np.array(["a", "b"]), None, "pid", strangers=True).tolist() == ["a", "b"]


def test_a_truncated_compressed_list_is_refused(tmp_path):
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(b"pid\na\n" * 1000)[:40])
    with pytest.raises(InputError, match="cannot be read"):
        read_failures(path, np.array(["a"]), None, "pid")
