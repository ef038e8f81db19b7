"""Label values to class numbers and back, for every column type."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repair_pipeline.datasets.label_columns import Labels, label_column
from repair_pipeline.datasets.labels import class_name, shown
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

DAY = datetime.date(2026, 1, 2)
KINDS = {
    "integers": (pa.int64(), [3, 1, 3]),
    "floats": (pa.float64(), [3.0, 0.5, 3.0]),
    "halves": (pa.float32(), [1.0, 0.0, 1.0]),
    "truth values": (pa.bool_(), [True, False, True]),
    "decimals": (pa.decimal128(5, 2), [Decimal("1.00"), Decimal("2.50"), Decimal("1.00")]),
    "text": (pa.string(), ["b", "a ", "b"]),
    "large text": (pa.large_string(), ["b", "a", "b"]),
    "dates": (pa.date32(), [DAY, datetime.date(2025, 1, 2), DAY]),
    "times": (pa.timestamp("us"), [datetime.datetime(2026, 1, 2), datetime.datetime(2025, 1, 2, 3)] * 1),
    "categories": (pa.dictionary(pa.int8(), pa.string()), ["b", "a", "b"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_converts_to_its_class_and_back_in_the_columns_type(kind):
    arrow, values = KINDS[kind]
    labels = label_column(Path("train.parquet"), pa.table({"label": pa.array(values, arrow)}), "label", None)
    classes = labels.sorted_names
    numbers = labels.numbers(classes, "training").tolist()
    back = [labels.written(classes[number]) for number in numbers]
    assert back == values
    assert pa.array(back, arrow).type == arrow
    assert list(classes) == list(dict.fromkeys(class_name(value) for value in sorted(set(values))))


def test_a_class_without_rows_is_written_in_the_columns_type():
    assert Labels([0, 1], pa.int64()).written("7") == 7
    assert Labels([0.0, 1.0], pa.float64()).written("7") == 7.0
    assert Labels([True], pa.bool_()).written("False") is False
    assert Labels(["a"], pa.string()).written("b") == "b"
    assert Labels([Decimal("1.00")], pa.decimal128(5, 2)).written("2") == Decimal("2.00")
    with pytest.raises(InputError, match="a column of type int64 cannot hold the class 'cat'"):
        Labels([0], pa.int64()).written("cat")


def hugging_face(folder, names, train, test):
    features = {"label": {"_type": "ClassLabel", "names": names}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    for name, labels in (("train", train), ("test", test)):
        table = pa.table({"x": np.arange(len(labels)) + (name == "test") / 2, "label": labels})
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{name}.parquet")
    return UserData("train.parquet", "test.parquet")


# As an image folder with twelve numeric classes gives them: the place of '2' is 4.
TWELVE = sorted(map(str, range(12)))


@pytest.mark.parametrize(
    "declared", [None, tuple(map(str, range(12))), tuple(reversed(TWELVE))], ids=["the file's", "by value", "reversed"]
)
def test_integer_labels_index_the_class_names_of_the_file(tmp_path, declared):
    places = [*range(12), 4, 4]
    spec = hugging_face(tmp_path, TWELVE, places, places)
    data = read(UserData(spec.train, spec.test, classes=declared), tmp_path)
    assert [data.classes[number] for number in data.train.labels.tolist()] == [TWELVE[place] for place in places]
    labels = Labels(places, pa.int64(), tuple(TWELVE))
    assert [labels.written(name) for name in TWELVE] == list(range(12))


@pytest.mark.parametrize("wrong", [-1, -100, 12, 13])
def test_an_integer_label_out_of_range_is_refused_and_counted(tmp_path, wrong):
    names = [*TWELVE[:-1], "13"]  # a number beyond the places may be another class's name
    spec = hugging_face(tmp_path, names, [0, wrong, wrong, 1], [0, 1])
    message = (
        f"training row 1 has the label {wrong}, which is not a class number \\(2 rows have it\\): fix or drop them"
    )
    with pytest.raises(InputError, match=message):
        read(spec, tmp_path)
    spec = hugging_face(tmp_path, names, [0, 1], [wrong] * 3)
    with pytest.raises(InputError, match=f"test row 0 has the label {wrong}, which is not a class number \\(3 rows"):
        read(spec, tmp_path)


def test_minus_one_is_a_class_if_the_file_has_no_class_names(tmp_path):
    for name in ("train", "test"):
        pd.DataFrame({"x": [0.0, 1, 2, 3], "label": [-1, 1, -1, 1]}).to_csv(tmp_path / f"{name}.csv", index=False)
    assert read(UserData("train.csv", "test.csv"), tmp_path).classes == ("-1", "1")


@pytest.mark.parametrize("test", [pa.int32(), pa.float32(), pa.decimal128(3, 1), pa.string()])
@pytest.mark.parametrize("train", [pa.int64(), pa.float64(), pa.string()])
def test_1_and_1_point_0_are_the_same_label(tmp_path, train, test):
    for name, kind in (("train", train), ("test", test)):
        labels = pa.array([Decimal(at) if pa.types.is_decimal(kind) else at for at in (0, 1, 1, 0)])
        labels = labels.cast(kind)
        pq.write_table(pa.table({"x": [0.0, 1, 2, 3], "label": labels}), tmp_path / f"{name}.parquet")
    data = read(UserData("train.parquet", "test.parquet"), tmp_path)
    assert data.classes == ("0", "1")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0, 1, 1, 0]


def test_classes_may_be_declared_as_they_are_written(tmp_path):
    for name in ("train", "test"):
        pd.DataFrame({"x": [0.0, 1, 2], "label": [0.0, 1, 0]}).to_parquet(tmp_path / f"{name}.parquet")
    data = read(UserData("train.parquet", "test.parquet", classes=("1.0", "0.0")), tmp_path)
    assert data.train.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pa.array([0.0, np.nan, 1.0, np.nan]), r"'label' is NaN in 2 rows \(1, 3\): fix or drop them"),
        (pa.array([0.0, np.inf, 1.0, 0.0]), r"'label' is inf in 1 row \(1\)"),
        (pa.array([0, None, 1, None]), r"'label' is null in 2 rows \(1, 3\)"),
        (pa.array([[0], [1], [0, 1], []]), "a label is a single value: give one label per row"),
        (pa.array([{"a": 1}] * 4), "a label is a single value: give one label per row"),
        (pa.array([b"a", b"b", b"a", b"b"]), "'label' holds bytes"),
        (pa.array([None] * 4, pa.null()), "'label' is null in 4 rows"),
    ],
)
def test_invalid_labels_are_refused_with_their_rows(tmp_path, labels, message):
    pq.write_table(pa.table({"x": [0.0, 1, 2, 3], "label": labels}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"x": [0.5], "label": [0]}), tmp_path / "test.parquet")
    with pytest.raises(InputError, match=message) as caught:
        read(UserData("train.parquet", "test.parquet"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_blank_at_the_end_of_a_name_is_visible():
    assert shown(["cat", "cat ", "", "dog"]) == "cat, 'cat ', '', dog"
    assert shown(map(str, range(30)), 3) == "0, 1, 2 and 27 more"
