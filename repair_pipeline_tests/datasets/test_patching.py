"""A patch of the owner's training data, and back."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from repair_pipeline.datasets.own import OwnData, read
from repair_pipeline.datasets.patching import apply_patch, patched, revert_patch
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
        elif path.suffix == ".parquet":
            part.to_parquet(path, index=False)
        else:
            path.mkdir()
            part[:4].to_parquet(path / "0.parquet", index=False)
            part[4:].to_parquet(path / "1.parquet", index=False)
    return OwnData(train, "test.parquet", id="name")


def pictures(folder):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (4, 4), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return OwnData("train", "test")


KINDS = {
    "parquet": lambda folder: table(folder, "train.parquet"),
    "csv": lambda folder: table(folder, "train.csv"),
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
    with pytest.raises(InputError, match="is applied already"):
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
