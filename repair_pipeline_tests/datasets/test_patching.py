"""A patch of the owner's training data, and back."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from repair_pipeline.datasets.own import OwnData, read
from repair_pipeline.datasets.patching import apply_patch, revert_patch
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
