"""Reading user data."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from repair_pipeline.datasets import user_tables
from repair_pipeline.datasets.user_data import TorchvisionData, UserData, read, read_torchvision
from repair_pipeline.errors import InputError


def picture(seed, size=(4, 5), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3) if mode == "RGB" else size, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return pixels, buffer.getvalue()


def frame(rows, start=0):
    at = np.arange(start, start + rows)
    return pd.DataFrame(
        {
            "patient": [f"p{number}" for number in at],
            "a": at / 7,
            "b": at % 5,
            "label": np.where(at % 2, "sick", "healthy"),
            "ward": np.where(at % 3, "north", "south"),
        }
    )


@pytest.fixture
def tables(tmp_path):
    frame(8).to_parquet(tmp_path / "train.parquet", index=False)
    frame(6, start=6).to_parquet(tmp_path / "test.parquet", index=False)
    return tmp_path


def spec(**fields):
    return UserData("train.parquet", "test.parquet", **fields)


def test_features_are_unchanged_and_classes_are_named(tables):
    data = read(spec(id=None), tables)
    assert data.classes == ("healthy", "sick")
    assert data.train.inputs.tolist() == torch.tensor(frame(8)[["a", "b"]].to_numpy(), dtype=torch.float32).tolist()
    assert data.train.labels.tolist() == [0, 1] * 4
    assert data.metadata.column_names == ["example_id", "patient", "ward"]
    assert data.metadata["patient"].to_pylist() == [*frame(8).patient, *frame(6, 6).patient]


def test_test_rows_that_occur_in_training_are_reported(tables):
    data = read(spec(), tables)
    assert data.also_in_training == {f"{example_id}" for example_id in data.test.ids[:2]}
    assert all(example_id.endswith("-1") for example_id in data.also_in_training)
    assert not data.also_in_training & set(data.train.ids)


def test_a_named_column_gives_the_ids_and_may_not_repeat(tables):
    frame(6, start=8).to_parquet(tables / "test.parquet", index=False)
    data = read(spec(id="patient"), tables)
    assert data.train.ids.tolist() == frame(8).patient.tolist()
    frame(6, start=6).to_parquet(tables / "test.parquet", index=False)
    with pytest.raises(InputError, match=r"dataset\.id is 'patient', but 'p6' occurs 2 times"):
        read(spec(id="patient"), tables)


def test_csv_and_parquet_and_a_folder_of_parquet_are_alike(tables):
    whole = read(spec(), tables)
    frame(8).to_csv(tables / "train.csv", index=False)
    (tables / "parts").mkdir()
    frame(3).to_parquet(tables / "parts" / "0.parquet", index=False)
    frame(5, start=3).to_parquet(tables / "parts" / "1.parquet", index=False)
    for train in ("train.csv", "parts"):
        again = read(UserData(train, "test.parquet"), tables)
        assert again.train.ids.tolist() == whole.train.ids.tolist()
        assert torch.equal(again.train.inputs, whole.train.inputs)


def images(folder, name, pictures, labels, hf=False):
    column = pa.array([{"bytes": content, "path": "x.png"} for _, content in pictures])
    table = pa.table({"img": column, "label": labels})
    if hf:
        features = {"label": {"_type": "ClassLabel", "names": ["zebra", "ant"]}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, folder / f"{name}.parquet")


def test_images_of_the_hugging_face_layout_with_its_class_names(tmp_path):
    pictures = [picture(seed) for seed in range(4)]
    images(tmp_path, "train", pictures, [0, 1, 0, 1], hf=True)
    images(tmp_path, "test", pictures[:1], [1], hf=True)
    data = read(spec(), tmp_path)
    assert data.classes == ("zebra", "ant")
    assert torch.equal(data.train.inputs[2], torch.tensor(pictures[2][0]).permute(2, 0, 1).float() / 255)
    assert data.test.labels.tolist() == [1]
    assert len(data.also_in_training) == 1


def brighter(image):
    return torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255 + 1


def test_the_users_transform_prepares_images(tmp_path):
    pictures = [picture(seed) for seed in range(4)]
    images(tmp_path, "train", pictures, [0, 1, 0, 1])
    images(tmp_path, "test", [picture(9)], [1])
    data = read(spec(transform=f"{__name__}:brighter"), tmp_path)
    assert torch.equal(data.train.inputs, read(spec(), tmp_path).train.inputs + 1)


def test_images_of_mixed_size_are_refused(tmp_path):
    images(tmp_path, "train", [picture(0), picture(1), picture(2, size=(4, 6))], [0, 1, 0])
    images(tmp_path, "test", [picture(3)], [1])
    with pytest.raises(InputError, match=r"training row 2 is 3×4×6, the first is 3×4×5: set dataset\.transform"):
        read(spec(), tmp_path).train.in_memory()


def test_a_folder_of_images_a_class(tmp_path):
    for part in ("train", "test"):
        for at, label in enumerate(("cat", "dog")):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(2):
                content = picture(f"{part}{label}{number}".encode()[-1] + at * 10 + (part == "test") * 50, mode="L")[1]
                (tmp_path / part / label / f"{number}.png").write_bytes(content)
    data = read(UserData("train", "test"), tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.train.inputs.shape == (4, 1, 4, 5)
    assert data.metadata["path"].to_pylist()[:3] == ["cat/0.png", "cat/1.png", "dog/0.png"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"label": "diagnosis"}, "has no column 'diagnosis': it has patient, a, b, label, ward; set dataset.label"),
        ({"id": "name"}, "has no column 'name': it has .*; set dataset.id"),
        ({"metadata": ("ward", "age")}, "has no column 'age': it has .*; set dataset.metadata"),
        ({"classes": ("healthy", "ill")}, "training row 1 has the label 'sick', but the classes are healthy, ill"),
        ({"transform": "nowhere:prepare"}, "there is no module 'nowhere'"),
        ({"features": ("ward",)}, "the feature 'ward' is not numeric"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tables, fields, message):
    with pytest.raises(InputError, match=message) as caught:
        read(spec(**fields), tables)
    assert "\n" not in str(caught.value)


def test_a_reserved_column_name_is_refused(tables):
    frame(8).assign(split="x").to_parquet(tables / "train.parquet", index=False)
    with pytest.raises(InputError, match="the column 'split' has the name of a column of the view examples"):
        read(spec(), tables)


def test_a_missing_feature_is_refused(tables):
    rows = frame(8)
    rows.loc[3, "a"] = np.nan
    rows.to_parquet(tables / "train.parquet", index=False)
    with pytest.raises(InputError, match="feature 'a' of row 3 is missing"):
        read(spec(), tables)


def test_a_data_set_that_torchvision_lacks_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.torchvision is 'Nothing'"):
        read_torchvision(TorchvisionData("Nothing"), tmp_path, tmp_path)
    with pytest.raises(InputError, match="MNIST cannot be read from"):
        read_torchvision(TorchvisionData("MNIST"), tmp_path, tmp_path)


@pytest.mark.parametrize("row_group", [7, 1000])
def test_images_are_read_forwards_in_chunks_from_any_files_and_row_groups(tmp_path, monkeypatch, row_group):
    monkeypatch.setattr(user_tables, "_CHUNK", 4)
    colours = [(at, 2 * at, 255 - at) for at in range(60)]
    rows = [{"image": {"bytes": png(colour), "path": ""}, "label": at % 2} for at, colour in enumerate(colours)]
    (tmp_path / "train").mkdir()
    for part, few in enumerate((rows[:23], rows[23:24], rows[24:])):
        table = pa.Table.from_pylist(few)
        pq.write_table(table, tmp_path / "train" / f"{part}.parquet", row_group_size=row_group)
    pq.write_table(pa.Table.from_pylist(rows[:3]), tmp_path / "test.parquet")
    train = read(UserData("train", "test.parquet"), tmp_path).train
    for at in ([0, 1, 22, 23, 24, 59], [59, 0], [5], [4, 5, 3]):
        actual = train[torch.tensor(at)].inputs[:, :, 0, 0] * 255
        assert actual.round().int().tolist() == [list(colours[row]) for row in at]


def png(colour):
    content = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(content, "png")
    return content.getvalue()


def test_a_row_without_an_image_is_named(tmp_path):
    images(tmp_path, "train", [picture(0), picture(1)], [0, 1])
    images(tmp_path, "test", [picture(3)], [1])
    table = pq.read_table(tmp_path / "train.parquet")
    kept = pa.Table.from_pylist([{**row, "img": {"bytes": None, "path": None}} for row in table.to_pylist()])
    pq.write_table(kept.cast(table.schema), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="training row 0 has no image, but null"):
        read(spec(), tmp_path)


def test_numeric_classes_are_named_like_the_labels():
    given = UserData("a.csv", "b.csv", classes=[0, 1.0, 2.5, "03", "1.0"])
    assert given.classes == ("0", "1", "2.5", "03", "1.0")
    for name in (False, None, float("nan"), [1]):
        with pytest.raises(ValidationError, match="valid string"):
            UserData("a.csv", "b.csv", classes=["a", name])
