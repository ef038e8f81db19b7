"""Applying and reverting a patch of the user's training data."""

import os
import shutil
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from repair_pipeline.datasets.patching import applied_patches, apply_patch, patched, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError


def everything(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def table(folder, train, numbers=False):
    at = np.arange(12)
    rows = pd.DataFrame(
        {"name": [f"n{i}" for i in at], "x": at / 3, "label": at % 2 if numbers else np.where(at % 2, "b", "a")}
    )
    for path, part in ((train, rows[:9]), ("test.parquet", rows[9:])):
        path = folder / path
        if path.suffix == ".csv":
            part.to_csv(path, index=False)
        elif path.suffix == ".jsonl":
            part.to_json(path, orient="records", lines=True)
        elif path.suffix == ".parquet":
            part.to_parquet(path, index=False)
        else:
            path.mkdir()
            part[:4].to_parquet(path / "0.parquet", index=False)
            part[4:].to_parquet(path / "1.parquet", index=False)
    return UserData(train, "test.parquet", id="name")


def pictures(folder):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (4, 4), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return UserData("train", "test")


KINDS = {
    "parquet": lambda folder: table(folder, "train.parquet"),
    "csv": lambda folder: table(folder, "train.csv"),
    "json lines": lambda folder: table(folder, "train.jsonl"),
    "numbers": lambda folder: table(folder, "train.parquet", numbers=True),
    "folder of parquet": lambda folder: table(folder, "parts"),
    "images": pictures,
}


@pytest.fixture(params=KINDS)
def spec(request, tmp_path):
    return KINDS[request.param](tmp_path)


def patch(data, drop, relabel):
    names = data.classes
    rows = [{"example_id": data.train.ids[at], "action": "drop", "suggested_label": None} for at in drop]
    rows += [
        {
            "example_id": data.train.ids[at],
            "action": "relabel",
            "suggested_label": names[1 - int(data.train.labels[at])],
        }
        for at in relabel
    ]
    return pa.Table.from_pylist(rows)


def test_it_drops_and_relabels_just_these_rows(tmp_path, spec):
    before = read(spec, tmp_path)
    assert apply_patch(spec, tmp_path, patch(before, drop=[0, 4], relabel=[2, 5]), "x") == (2, 2)
    after = read(spec, tmp_path)
    old = dict(zip(before.train.ids, before.train.labels.tolist(), strict=True))
    new = dict(zip(after.train.ids, after.train.labels.tolist(), strict=True))
    assert old.keys() - new.keys() == {before.train.ids[0], before.train.ids[4]}
    assert {name for name in new if new[name] != old[name]} == {before.train.ids[2], before.train.ids[5]}


def test_reverting_gives_every_byte_back(tmp_path, spec):
    before = everything(tmp_path)
    apply_patch(spec, tmp_path, patch(read(spec, tmp_path), [0, 4], [2, 5]), "x")
    assert everything(tmp_path) != before
    revert_patch(spec, tmp_path, "x")
    assert everything(tmp_path) == before


def test_applied_twice_reverted_unapplied_or_stale_it_is_refused(tmp_path, spec):
    data = read(spec, tmp_path)
    before = everything(tmp_path)
    with pytest.raises(InputError, match="is not applied"):
        revert_patch(spec, tmp_path, "x")
    stranger = pa.Table.from_pylist([{"example_id": "stranger", "action": "drop", "suggested_label": None}])
    with pytest.raises(InputError, match="has no row 'stranger'"):
        apply_patch(spec, tmp_path, stranger, "x")
    assert everything(tmp_path) == before
    apply_patch(spec, tmp_path, patch(data, [0], []), "x")
    once = everything(tmp_path)
    with pytest.raises(InputError, match="is already applied"):
        apply_patch(spec, tmp_path, patch(data, [1], []), "x")
    assert everything(tmp_path) == once


def test_a_patch_in_memory_is_the_patched_files_read_anew(tmp_path):
    spec = table(tmp_path, "train.parquet")
    patch = pa.table(
        {
            "example_id": ["n1", "n4", "n7"],
            "action": ["drop", "relabel", "drop"],
            "suggested_label": [None, "b", None],
        }
    )
    given = read(spec, tmp_path)
    in_memory = patched(given, [patch])
    apply_patch(spec, tmp_path, patch, "case")
    anew = read(spec, tmp_path)
    assert in_memory.train.ids.tolist() == anew.train.ids.tolist() == [f"n{i}" for i in (0, 2, 3, 4, 5, 6, 8)]
    assert in_memory.train.labels.tolist() == anew.train.labels.tolist()
    assert torch.equal(in_memory.train.inputs, anew.train.inputs)
    # Files that are patched already lack the rows, and a relabelled row has the label.
    again = patched(anew, [patch])
    assert again.train.ids.tolist() == anew.train.ids.tolist()
    assert patched(given, []).train.ids.tolist() == given.train.ids.tolist()


# What a patch must not change.


TEXT = (
    b"\xef\xbb\xbfname,zip,account,code,when,price,label,note\r\n"
    b'n0,00037,12345678901234567891,1e5,2024-01-01T10:00:00Z,1.50,a,"a, ""b""\r\nc"\r\n'
    b"n1,00074,12345678901234567892,2e3,2024-01-02T10:00:00Z,2.00,b,true\r\n"
    b"\r\n"
    b'n2,00111,12345678901234567893,1e5,2024-01-03T10:00:00Z,3.0,"a",x "y" z\r\n'
    b"n3,00148,12345678901234567894,1e5,2024-01-04T10:00:00Z,4.25,b,"
)


@pytest.mark.parametrize("ends", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("separator", [b",", b"\t"])
def test_a_csv_file_keeps_every_byte_that_the_patch_does_not_change(tmp_path, ends, separator):
    text = TEXT.replace(b"\r\n", ends) if separator == b"," else TEXT.replace(b", ", b"; ").replace(b",", b"\t")
    name = "train.csv" if separator == b"," else "train.tsv"
    (tmp_path / name).write_bytes(text)
    (tmp_path / "test.csv").write_bytes(
        TEXT.replace(b"n", b"v")
        .replace(b"vame", b"name")
        .replace(b"vote", b"note")
        .replace(b"whev", b"when")
        .replace(b"accouvt", b"account")
    )
    spec = UserData(name, "test.csv", id="name", features=("price",))
    data = read(spec, tmp_path)
    assert apply_patch(spec, tmp_path, patch(data, drop=[1], relabel=[0]), "x") == (1, 1)
    lines = text.split(b"n1")[0], text[text.index(b"n1") :]
    rest = lines[1][lines[1].index(b"true") + 4 :]
    rest = rest[len(ends) if separator == b"," else 2 :]
    expected = lines[0].replace(separator + b"a" + separator + b'"', separator + b"b" + separator + b'"', 1) + rest
    assert (tmp_path / name).read_bytes() == expected


def test_a_parquet_file_keeps_its_schema_its_metadata_its_row_groups_and_their_compression(tmp_path):
    schema = pa.schema(
        [
            pa.field("name", pa.large_string(), nullable=False),
            pa.field("x", pa.float32(), metadata={"unit": "mm"}),
            pa.field("label", pa.dictionary(pa.int8(), pa.string())),
            pa.field("when", pa.timestamp("ns", "UTC")),
            pa.field("extra", pa.struct([("a", pa.list_(pa.decimal128(4, 2)))])),
        ],
        metadata={"mine": "kept"},
    )
    rows = [{"name": f"n{at}", "x": at / 3, "label": "ab"[at % 2], "when": at, "extra": {"a": []}} for at in range(12)]
    table = pa.Table.from_pylist(rows, schema=schema)
    how = {"compression": {"name": "zstd", "x": "none"}, "use_dictionary": ["name"], "row_group_size": 5}
    pq.write_table(table, tmp_path / "train.parquet", **how)
    pq.write_table(
        table.slice(0, 3).set_column(0, schema.field(0), pa.array(["u", "v", "w"], pa.large_string())),
        tmp_path / "test.parquet",
    )
    spec = UserData("train.parquet", "test.parquet", id="name", features=("x",))
    before = pq.ParquetFile(tmp_path / "train.parquet")
    apply_patch(spec, tmp_path, patch(read(spec, tmp_path), drop=[0, 6], relabel=[1, 11]), "x")
    after = pq.ParquetFile(tmp_path / "train.parquet")
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    groups = [after.metadata.row_group(at) for at in range(after.num_row_groups)]
    assert [group.num_rows for group in groups] == [4, 4, 2]
    first = [groups[0].column(at) for at in range(4)]
    old = [before.metadata.row_group(0).column(at) for at in range(4)]
    assert [column.compression for column in first] == [column.compression for column in old]
    assert [column.has_dictionary_page for column in first] == [column.has_dictionary_page for column in old]
    kept = [row for row in table.to_pylist() if row["name"] not in ("n0", "n6")]
    flip = {"a": "b", "b": "a"}
    expected = [row | ({"label": flip[row["label"]]} if row["name"] in ("n1", "n11") else {}) for row in kept]
    assert after.read().to_pylist() == expected


@pytest.mark.parametrize(
    "kind", [pa.float64(), pa.float32(), pa.bool_(), pa.decimal128(5, 2), pa.int8(), pa.uint64(), pa.large_string()]
)
def test_labels_of_every_kind_are_written_in_their_kind(tmp_path, kind):
    at = np.arange(8)
    labels = pa.array([Decimal(int(value)) if pa.types.is_decimal(kind) else int(value) for value in at % 2])
    labels = labels.cast(kind)
    pq.write_table(pa.table({"name": [f"n{i}" for i in at], "x": at / 3, "label": labels}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"name": ["u", "v"], "x": [9.0, 9.5], "label": labels[:2]}), tmp_path / "test.parquet")
    spec = UserData("train.parquet", "test.parquet", id="name")
    apply_patch(spec, tmp_path, patch(read(spec, tmp_path), drop=[7], relabel=[0, 3]), "x")
    after = pq.read_table(tmp_path / "train.parquet")
    assert after.schema.field("label").type == kind
    assert after["label"].to_pylist() == labels.take([1, 1, 0, 0, 0, 1, 0]).to_pylist()


def test_a_row_that_was_corrected_since_it_was_judged_is_not_touched_nor_is_any_other(tmp_path, spec):
    data = read(spec, tmp_path)
    judged = patch(data, drop=[0], relabel=[2])
    names = [data.classes[1 - label] for label in data.train.labels[[0, 2]].tolist()]
    stale = judged.append_column("label", pa.array(names))
    before = everything(tmp_path)
    with pytest.raises(InputError, match="2 of 2 rows of the patch x have a different label") as caught:
        apply_patch(spec, tmp_path, stale, "x")
    assert f"{data.train.ids[0]} is " in str(caught.value)
    assert everything(tmp_path) == before


def test_a_class_that_the_labels_cannot_hold_leaves_everything_as_it_is(tmp_path):
    spec = replace(table(tmp_path, "parts", numbers=True), classes=("0", "1", "cat"))
    data = read(spec, tmp_path)
    change = pa.Table.from_pylist([{"example_id": data.train.ids[-1], "action": "relabel", "suggested_label": "cat"}])
    before = everything(tmp_path)
    with pytest.raises(InputError, match="a column of type int64 cannot hold the class 'cat'"):
        apply_patch(spec, tmp_path, change, "x")
    assert everything(tmp_path) == before


def test_a_class_that_the_data_do_not_have_is_refused(tmp_path, spec):
    change = [{"example_id": read(spec, tmp_path).train.ids[0], "action": "relabel", "suggested_label": "cat"}]
    before = everything(tmp_path)
    with pytest.raises(InputError, match="the patch x gives rows the class 'cat', but the classes are "):
        apply_patch(spec, tmp_path, pa.Table.from_pylist(change), "x")
    assert everything(tmp_path) == before


def test_a_disk_that_fails_half_way_leaves_everything_as_it_is(tmp_path, spec, monkeypatch):
    data = read(spec, tmp_path)
    before, replace, calls = everything(tmp_path), os.replace, []

    def fails_once(source, target):
        calls.append(target)
        if len(calls) == (2 if (tmp_path / spec.train).is_dir() else 1):
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails_once)
    with pytest.raises((InputError, OSError), match="no space left"):
        apply_patch(spec, tmp_path, patch(data, drop=[0, 4], relabel=[2, 5]), "x")
    assert everything(tmp_path) == before


def test_a_copy_that_fails_leaves_the_file_as_it_is(tmp_path, monkeypatch):
    spec = table(tmp_path, "train.csv")
    data, before = read(spec, tmp_path), everything(tmp_path)

    def no_links(source, target):
        raise OSError("no such thing here")

    def half(source, target):
        target.write_bytes(source.read_bytes()[:20])
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copy2", half)
        with pytest.raises(InputError, match=r"no space left on device\): nothing was changed"):
            apply_patch(spec, tmp_path, patch(data, [0, 4], [2, 5]), "x")
    assert everything(tmp_path) == before
    apply_patch(spec, tmp_path, patch(data, [0, 4], [2, 5]), "x")
    revert_patch(spec, tmp_path, "x")
    assert everything(tmp_path) == before


def test_patches_are_reverted_from_the_last_to_the_first(tmp_path, spec):
    before = everything(tmp_path)
    apply_patch(spec, tmp_path, patch(read(spec, tmp_path), [0], []), "z")
    apply_patch(spec, tmp_path, patch(read(spec, tmp_path), [1], [2]), "a")
    assert list(applied_patches(spec, tmp_path)) == ["z", "a"]
    both = everything(tmp_path)
    with pytest.raises(InputError, match=r"patch b is not applied to .*: to revert what .*: repair patch revert a"):
        revert_patch(spec, tmp_path, "b")
    with pytest.raises(InputError, match=r"the patch a was applied to .* after z: revert that one first"):
        revert_patch(spec, tmp_path, "z")
    assert everything(tmp_path) == both
    revert_patch(spec, tmp_path, "a")
    revert_patch(spec, tmp_path, "z")
    assert everything(tmp_path) == before


def test_an_image_of_a_project_that_was_moved_comes_back(tmp_path):
    (tmp_path / "old").mkdir()
    spec = pictures(tmp_path / "old")
    before = everything(tmp_path / "old")
    apply_patch(spec, tmp_path / "old", patch(read(spec, tmp_path / "old"), [0, 4], [2, 5]), "x")
    (tmp_path / "old").rename(tmp_path / "new")
    revert_patch(spec, tmp_path / "new", "x")
    assert everything(tmp_path / "new") == before


def test_two_images_do_not_become_one(tmp_path):
    spec = pictures(tmp_path)
    picture = (tmp_path / "test" / "a" / "0.png").read_bytes()
    for folder, name in (("a", "b-x.png"), ("a-b", "x.png"), ("c", "y.png")):
        (tmp_path / "train" / folder).mkdir(exist_ok=True)
        (tmp_path / "train" / folder / name).write_bytes(picture)
    data, before = read(spec, tmp_path), everything(tmp_path)
    files = data.metadata["path"].to_pylist()[: len(data.train)]
    at = [str(data.train.ids[files.index(name)]) for name in ("a/b-x.png", "a-b/x.png")]
    change = [{"example_id": example_id, "action": "relabel", "suggested_label": "c"} for example_id in at]
    with pytest.raises(InputError, match=r"cannot become .*a-b-x\.png, which is another image"):
        apply_patch(spec, tmp_path, pa.Table.from_pylist(change), "x")
    assert everything(tmp_path) == before


def test_an_image_does_not_replace_another(tmp_path):
    spec = pictures(tmp_path)
    data = read(spec, tmp_path)
    (tmp_path / "train" / "b" / "a-0.png").write_bytes((tmp_path / "test" / "b" / "0.png").read_bytes())
    before = everything(tmp_path)
    with pytest.raises(InputError, match=r"cannot become .*a-0\.png, which is another image"):
        apply_patch(spec, tmp_path, patch(data, drop=[], relabel=[0]), "x")
    assert everything(tmp_path) == before
