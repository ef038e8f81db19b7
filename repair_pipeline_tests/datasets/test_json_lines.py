"""JSON lines are read as the same table elsewhere is, and a patch changes no byte that it need not."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repair_pipeline.datasets.json_lines import values_in
from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.datasets.table_files import read_table, text_of
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

ROWS = [{"name": f"n{at}", "x": at / 4, "v": [at, -at], "note": "ü", "label": "ab"[at % 2]} for at in range(8)]
TESTS = [{**row, "name": f"t{at}"} for at, row in enumerate(ROWS)]
BY_NAME = {"id": "name", "features": ("x", "v")}


def lines(rows, ending="\n"):
    return "".join(json.dumps(row) + ending for row in rows).encode()


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "JSONL", "jsonl.gz"])
def test_it_is_read_as_the_same_rows_in_parquet(tmp_path, suffix):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    pq.write_table(pa.Table.from_pylist(TESTS), tmp_path / "test.parquet")
    content = b"\xef\xbb\xbf" + lines(ROWS, "\r\n\r\n")
    (tmp_path / f"rows.{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    there, here = (
        read(UserData(name, "test.parquet", **BY_NAME), tmp_path) for name in ("rows.parquet", f"rows.{suffix}")
    )
    assert torch.equal(here.train.inputs, there.train.inputs)
    assert torch.equal(here.train.labels, there.train.labels)
    assert here.train.ids.tolist() == there.train.ids.tolist()
    assert here.classes == there.classes


def test_text_that_looks_like_a_time_stays_text(tmp_path):
    rows = [{"day": "2024-01-02", "of": {"hours": ["2024-01-02 10:00:00"]}, "id": "00037"} for _ in range(2)]
    file = tmp_path / "rows.jsonl"
    file.write_bytes(lines(rows))
    assert read_table(file).to_pylist() == rows
    assert text_of(file, read_table(file), "day") == ["2024-01-02"] * 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no rows: give a table with rows"),
        (b" \n\n", "has no rows: give a table with rows"),
        (b'[{"a": 1}]', "write one JSON object in each line"),
        (b'{"a": 1}\n{"a": "x"}\n', "with values of one type in each column"),
        (b'{"a": 1, "a": 2}\n', "was specified twice"),
        (b'{"a": 1}\n{"a": ', "cannot be read as JSON lines"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', r"is not UTF-8 \(line 2\)"),
        (b"name,label\nn0,a\n", "cannot be read as JSON lines"),
    ],
)
def test_what_is_none_is_refused_in_one_line(tmp_path, content, says):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        read_table(file)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(file))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans(), st.sampled_from([(",", ":"), (" , ", " :\t")]))
def test_each_value_is_found_where_it_is(row, escaped, between):
    line = json.dumps(row, ensure_ascii=escaped, separators=between)
    found = {name: json.loads(line[start:end]) for name, (start, end) in values_in(f"{line}\n").items()}
    assert found == row


@pytest.mark.parametrize("line", ['{"a": 1}{"a": 2}', '{"a":', "1", "[]", "", '"{}"'])
def test_what_is_not_one_object_has_no_values(line):
    with pytest.raises(ValueError, match=r"."):
        values_in(line)


ACTIONS = st.lists(st.sampled_from(["keep", "drop", "relabel"]), min_size=8, max_size=8)


@given(ACTIONS, st.booleans(), st.sampled_from(["\n", "\r\n"]), st.permutations(["name", "x", "v", "note", "label"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_only_dropped_lines_and_labels_of_relabelled_lines_change(tmp_path, actions, escaped, ending, order):
    other = {"a": "b", "b": "a"}
    rows = [{name: row[name] for name in order} for row in ROWS]
    # Written in a way that no program of ours would write.
    given = [json.dumps(row, ensure_ascii=escaped, separators=(" ,", ":  ")) for row in rows]
    expected = [
        line.replace(f'"label":  "{row["label"]}"', f'"label":  "{other[row["label"]]}"')
        if action == "relabel"
        else line
        for line, row, action in zip(given, rows, actions, strict=True)
        if action != "drop"
    ]
    left = {row["label"] for row, action in zip(rows, actions, strict=True) if action == "keep"}
    changes = [
        {
            "example_id": row["name"],
            "action": action,
            "suggested_label": other[row["label"]] if action == "relabel" else None,
        }
        for row, action in zip(rows, actions, strict=True)
        if action != "keep"
    ]
    if left != {"a", "b"} or not changes:
        return
    file = tmp_path / "train.jsonl"
    before = "".join(line + ending for line in given).encode()
    file.write_bytes(before)
    (tmp_path / "test.jsonl").write_bytes(lines(TESTS))
    spec = UserData("train.jsonl", "test.jsonl", **BY_NAME)
    schema = pa.schema([(name, pa.string()) for name in changes[0]])
    apply_patch(spec, tmp_path, pa.Table.from_pylist(changes, schema=schema), "x")
    assert file.read_bytes() == "".join(line + ending for line in expected).encode()
    revert_patch(spec, tmp_path, "x")
    assert file.read_bytes() == before


def test_reverting_keeps_what_was_added_since_whatever_keys_it_has(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_bytes(lines(ROWS))
    (tmp_path / "test.jsonl").write_bytes(lines(TESTS))
    spec = UserData("train.jsonl", "test.jsonl", **BY_NAME)
    patch = pa.table({"example_id": ["n1", "n2"], "action": ["drop", "relabel"], "suggested_label": [None, "b"]})
    apply_patch(spec, tmp_path, patch, "x")
    added = {**ROWS[0], "name": "new", "source": "night"}
    with file.open("ab") as open_file:
        open_file.write(lines([added]))
    revert_patch(spec, tmp_path, "x")
    after = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert after == [ROWS[0], *ROWS[2:], added, ROWS[1]]


def test_objects_of_several_lines_are_read_and_not_patched(tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text("\n".join(json.dumps(row, indent=1) for row in ROWS))
    (tmp_path / "test.jsonl").write_bytes(lines(TESTS))
    spec = UserData("train.jsonl", "test.jsonl", **BY_NAME)
    assert len(read(spec, tmp_path).train) == 8
    before = file.read_bytes()
    patch = pa.table({"example_id": ["n1"], "action": ["relabel"], "suggested_label": ["a"]})
    with pytest.raises(InputError, match="cannot be matched to its lines"):
        apply_patch(spec, tmp_path, patch, "x")
    assert file.read_bytes() == before
