"""What a patch writes: labels in the column's own kind and as they are read, and in a CSV file not a byte more."""

import json
from datetime import date, datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

DAYS = [date(2024, 1, 2), date(2023, 12, 31)]
MOMENTS = [datetime(2024, 1, 2, 3, 4, 5, 600), datetime(2023, 12, 31)]
KINDS = [
    *((kind, [0, 1]) for kind in (pa.int8(), pa.uint16(), pa.int64(), pa.float16(), pa.float32(), pa.float64())),
    (pa.float64(), [0.5, -1.25]),
    (pa.bool_(), [False, True]),
    (pa.decimal128(5, 2), [Decimal("1.00"), Decimal("2.50")]),
    (pa.decimal256(40, 0), [Decimal(1), Decimal(2)]),
    *((kind, DAYS) for kind in (pa.date32(), pa.date64())),
    *((pa.timestamp(unit, zone), MOMENTS) for unit in ("us", "ns") for zone in (None, "UTC", "Europe/Berlin")),
    (pa.timestamp("s"), [*MOMENTS[1:], datetime(2020, 1, 1)]),
    (pa.time64("us"), [time(1, 2, 3), time(4, 5)]),
    *((kind, ["b", "a"]) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    (pa.dictionary(pa.int8(), pa.string()), ["b", "a"]),
    (pa.dictionary(pa.int32(), pa.int64()), [7, 3]),
]


def labels_of(kind, values, at):
    if pa.types.is_dictionary(kind):
        return pa.array([values[place] for place in at], kind.value_type).dictionary_encode().cast(kind)
    if kind == pa.float16():
        return pa.array(np.array([values[place] for place in at], np.float16))
    return pa.array([values[place] for place in at], kind)


def part(first, labels):
    at = np.arange(first, first + len(labels))
    return pa.table({"name": [f"n{i}" for i in at], "x": at / 3, "label": labels})


def relabel(data, names):
    """A patch that gives rows the other class of two."""
    label_of = dict(zip(data.train.ids.tolist(), data.train.labels.tolist(), strict=True))
    rows = [(name, data.classes[1 - label_of[name]]) for name in names]
    return pa.table(
        {
            "example_id": [name for name, _ in rows],
            "action": ["relabel"] * len(rows),
            "suggested_label": [label for _, label in rows],
        }
    )


@pytest.mark.parametrize(("kind", "values"), KINDS, ids=[f"{kind} {values[0]}" for kind, values in KINDS])
def test_labels_of_every_kind_are_written_in_their_kind_in_every_part(tmp_path, kind, values):
    parts = tmp_path / "train"
    parts.mkdir()
    both, first, second = [0, 1, 0, 1], [0, 0, 0], [1, 1]
    for number, at in enumerate((both, first, [], second)):  # classes of another part only, and a part without rows
        pq.write_table(part(10 * number, labels_of(kind, values, at)), parts / f"{number}.parquet")
    untouched = (parts / "2.parquet").read_bytes()
    pq.write_table(part(90, labels_of(kind, values, [0, 1])), tmp_path / "test.parquet")
    spec = UserData("train", "test.parquet", id="name", features=("x",))
    given = {file.name: file.read_bytes() for file in parts.iterdir()}
    stored = pq.read_schema(parts / "0.parquet").field("label").type  # Parquet has fewer kinds than Arrow
    apply_patch(spec, tmp_path, relabel(read(spec, tmp_path), ["n0", "n3", "n11", "n31"]), "x")
    for number, expected in enumerate(([1, 1, 0, 0], [0, 1, 0], [], [1, 0])):
        after = pq.read_table(parts / f"{number}.parquet", partitioning=None)["label"]
        assert after.type == stored
        assert after.to_pylist() == labels_of(kind, values, expected).cast(stored).to_pylist()
    assert (parts / "2.parquet").read_bytes() == untouched
    revert_patch(spec, tmp_path, "x")
    assert {file.name: file.read_bytes() for file in parts.iterdir()} == given


@pytest.mark.parametrize("nothing", ["no rows", "no row groups", "no type"])
def test_an_empty_part_is_no_obstacle(tmp_path, nothing):
    parts = tmp_path / "train"
    parts.mkdir()
    empty = part(0, pa.array([], pa.null() if nothing == "no type" else pa.int64()))
    with pq.ParquetWriter(parts / "0.parquet", empty.schema) as writer:
        if nothing != "no row groups":
            writer.write_table(empty)
    pq.write_table(part(0, pa.array([0, 1, 1])), parts / "1.parquet")
    pq.write_table(part(90, pa.array([0, 1])), tmp_path / "test.parquet")
    spec = UserData("train", "test.parquet", id="name", features=("x",))
    apply_patch(spec, tmp_path, relabel(read(spec, tmp_path), ["n0", "n2"]), "x")
    assert pq.read_table(parts / "1.parquet", partitioning=None)["label"].to_pylist() == [1, 1, 0]


NUMBERED = sorted(map(str, range(12)))
"""As an image folder gives them: 0, 1, 10, 11, 2, …"""


def hugging_face(table, names=NUMBERED):
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint8()])
@pytest.mark.parametrize("told", ["in every part", "in the first part"])
def test_class_names_that_are_numbers_in_another_order_keep_their_places(tmp_path, kind, told):
    parts = tmp_path / "train"
    parts.mkdir()
    for number, at in enumerate(([*range(12)], [4, 4, 4])):
        table = part(20 * number, pa.array(at, kind))
        table = hugging_face(table) if told == "in every part" or number == 0 else table
        pq.write_table(table, parts / f"{number}.parquet")
    pq.write_table(hugging_face(part(90, pa.array(range(12), kind))), tmp_path / "test.parquet")
    spec = UserData("train", "test.parquet", id="name")
    changes = {"n0": "11", "n4": "3", "n21": "10", "n22": "9"}
    patch = pa.table(
        {"example_id": [*changes], "action": ["relabel"] * len(changes), "suggested_label": [*changes.values()]}
    )
    apply_patch(spec, tmp_path, patch, "x")
    after = read(spec, tmp_path)
    assert {name: after.classes[label] for name, label in zip(after.train.ids, after.train.labels, strict=True)} == {
        **{f"n{at}": NUMBERED[at] for at in range(12)},
        **{f"n{20 + at}": NUMBERED[4] for at in range(3)},
        **changes,
    }
    written = [pq.read_table(parts / f"{number}.parquet", partitioning=None)["label"].to_pylist() for number in (0, 1)]
    assert written[0][0] == NUMBERED.index("11") == 3
    assert written[1] == [4, NUMBERED.index("10"), NUMBERED.index("9")]


def test_classes_that_are_given_as_the_file_writes_them_are_written_so(tmp_path):
    for name, first in (("train", 0), ("test", 90)):
        pq.write_table(part(first, pa.array([1.0, 0.0, 1.0])), tmp_path / f"{name}.parquet")
    spec = UserData("train.parquet", "test.parquet", id="name", features=("x",), classes=("1.0", "0.0"))
    apply_patch(spec, tmp_path, relabel(read(spec, tmp_path), ["n0", "n1"]), "x")
    assert pq.read_table(tmp_path / "train.parquet")["label"].to_pylist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("classes", [("10", "2", "30"), ("30", "10", "2")])
def test_classes_that_are_given_in_another_order_are_written_as_their_values(tmp_path, suffix, classes):
    values = [10, 2, 30, 10]
    for name, first in (("train", 0), ("test", 90)):
        table = part(first, pa.array(values))
        write = pa.csv.write_csv if suffix == "csv" else pq.write_table
        write(table, tmp_path / f"{name}.{suffix}")
    spec = UserData(f"train.{suffix}", f"test.{suffix}", id="name", features=("x",), classes=classes)
    new = next(name for name in read(spec, tmp_path).classes if float(name) == 30)
    patch = pa.table({"example_id": ["n0", "n1"], "action": ["relabel"] * 2, "suggested_label": [new] * 2})
    apply_patch(spec, tmp_path, patch, "x")
    file = tmp_path / f"train.{suffix}"
    after = pa.csv.read_csv(file) if suffix == "csv" else pq.read_table(file)
    assert after["label"].to_pylist() == [30, 30, 30, 10]


# CSV.

FIELD = st.one_of(
    st.sampled_from([b"", b"00037", b"1e5", b"1.50", b"true", b"2024-01-01T10:00:00Z", b'"a ""b"" c"', b'x "y" z']),
    st.sampled_from([b'"one, two"', "ü".encode(), b'"two\nlines"', b"12345678901234567891", b"  ", b"NULL"]),
)
LABELS = {
    "text": [b"yes", b'"no, ""not"""', b"perhaps"],
    "truth": [b"true", b"false"],
    "number": [b"007", b"12", b"3"],
    "decimal": [b"1.50", b"2.0", b"-3"],
    "day": [b"2024-01-02", b"2023-12-31"],
    "moment": [b"2024-01-02T03:04:05Z", b"2023-12-31 00:00:00Z"],
}


@st.composite
def files(draw):
    """A header, lines and the fields of lines, a label for each line, and what is done with each."""
    kind = draw(st.sampled_from(sorted(LABELS)))
    count, ending = draw(st.integers(4, 12)), draw(st.sampled_from([b"\r\n", b"\n", b"\r"]))
    labels = [LABELS[kind][at % len(LABELS[kind])] for at in range(count)]
    rows = [
        [f"n{at}".encode(), draw(FIELD), draw(FIELD), f"{at}.250".encode(), label] for at, label in enumerate(labels)
    ]
    actions = draw(st.lists(st.sampled_from(["keep", "drop", "relabel"]), min_size=count, max_size=count))
    blank = draw(st.sets(st.integers(0, count)))
    mark, last = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])), draw(st.booleans())
    return rows, actions, LABELS[kind], ending, blank, mark, last


@given(files(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_dropped_lines_and_labels_of_relabelled_lines_change(tmp_path, made, random):
    rows, actions, labels, ending, blank, mark, last = made
    header = b"name,left,note,x,label"

    def text(lines):
        pieces = [mark, header, ending]
        for at, fields in lines:
            pieces += [ending if at in blank else b"", b",".join(fields), ending]
        return b"".join(pieces)

    given = text(enumerate(rows))
    cut = len(ending) if last else 0  # the last line may lack its end
    (tmp_path / "train.csv").write_bytes(given[: len(given) - cut])
    (tmp_path / "test.csv").write_bytes(given.replace(b"\nn", b"\nv").replace(b"\rn", b"\rv"))
    spec = UserData("train.csv", "test.csv", id="name", features=("x",), metadata=())
    data = read(spec, tmp_path)
    class_of = dict(zip((row[4] for row in rows), (data.classes[label] for label in data.train.labels), strict=True))
    changes, expected = [], []
    for at, (row, action) in enumerate(zip(rows, actions, strict=True)):
        new = random.choice([label for label in labels if label != row[4] and label in class_of])
        if action != "keep":
            name = class_of[new] if action == "relabel" else None
            changes.append({"example_id": f"n{at}", "action": action, "suggested_label": name})
        if action != "drop":
            expected.append((at, [*row[:4], new if action == "relabel" else row[4]]))
    if not changes:
        return
    table = pa.Table.from_pylist(changes, schema=pa.schema([(name, pa.string()) for name in changes[0]]))
    before = (tmp_path / "train.csv").read_bytes()
    try:
        apply_patch(spec, tmp_path, table, "x")
    except InputError:
        # None is left, or Arrow would read those that are left as another kind, so that they would be other classes.
        assert {row[4] for _, row in expected} != set(labels)
        assert (tmp_path / "train.csv").read_bytes() == before
        return
    after = (tmp_path / "train.csv").read_bytes()
    revert_patch(spec, tmp_path, "x")
    assert (tmp_path / "train.csv").read_bytes() == before
    # Blank lines stay where they are, before or after a line that is gone.
    assert [line for line in after.split(ending) if line] == [line for line in text(expected).split(ending) if line]
    assert after.startswith(mark + header + ending)
