"""Images of every bit depth scaled to [0, 1], and the results of transforms."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import map_inputs, write_inputs

GREY = np.random.default_rng(0).integers(0, 256, (4, 3, 5))


def encoded(picture, form="PNG"):
    content = io.BytesIO()
    picture.save(content, form)
    return content.getvalue()


def folder(tmp_path, train, test=None):
    for name, images in (("train", train), ("test", train if test is None else test)):
        labels = [at % 2 for at in range(len(images))]
        pq.write_table(
            pa.table({"image": pa.array(images, pa.binary()), "label": labels}), tmp_path / f"{name}.parquet"
        )
    return UserData("train.parquet", "test.parquet")


def deep(pixels, kind="uint16", form="PNG"):
    return encoded(Image.fromarray(np.asarray(pixels).astype(kind)), form)


DEPTHS = {
    "8 bits": lambda grey: deep(grey, "uint8"),
    "16 bits, PNG": lambda grey: deep(grey * 257),
    "16 bits, TIFF": lambda grey: deep(grey * 257, "uint16", "TIFF"),
    "16 bits, high byte first": lambda grey: deep(grey * 257, ">u2", "TIFF"),
    "8 bits in 16": lambda grey: deep(grey, "uint16"),
    "16 bits in 32": lambda grey: deep(grey * 257, "int32", "TIFF"),
    "8 bits in 32": lambda grey: deep(grey, "int32", "TIFF"),
    "floats": lambda grey: deep(grey / 255, "float32", "TIFF"),
}


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_grey_image_is_the_same_however_deep_it_is_stored(tmp_path, depth):
    data = read(folder(tmp_path, [DEPTHS[depth](grey) for grey in GREY]), tmp_path)
    assert torch.allclose(data.train.inputs, torch.tensor(GREY / 255, dtype=torch.float32)[:, None], atol=1e-7)


def test_a_dark_test_image_is_scaled_as_the_training_images_are(tmp_path):
    dark = np.arange(15).reshape(3, 5) * 10
    data = read(folder(tmp_path, [deep(grey * 257) for grey in GREY], [deep(dark)]), tmp_path)
    assert torch.allclose(data.test.inputs[0, 0], torch.tensor(dark / 65535, dtype=torch.float32))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (deep(GREY[0] * 16), "images of mode I;16 have values up to [0-9]{4}, like 12 bits stored in 16: set"),
        (deep(GREY[0] * 16, "int32", "TIFF"), "images of mode I have values up to [0-9]{4}, like 12 bits"),
        (deep(GREY[0] * 1000, "int32", "TIFF"), "images of mode I have values up to .*, more than 16 bits: set"),
        (deep(GREY[0] - 300, "int32", "TIFF"), "training row 0 is an image of mode I with values below 0"),
        (deep(GREY[0] * 1.0, "float32", "TIFF"), r"mode F with values from .*, outside \[0, 1\]"),
    ],
)
def test_an_image_of_unknown_depth_is_refused_and_never_clipped(tmp_path, image, message):
    with pytest.raises(InputError, match=message):
        read(folder(tmp_path, [image, image]), tmp_path).train.in_memory()


def test_a_test_image_brighter_than_white_is_refused(tmp_path):
    spec = folder(tmp_path, [deep(grey, "uint8") for grey in GREY], [deep(GREY[0] * 257)])
    with pytest.raises(InputError, match="test row 0 is an image of mode I;16 with values from"):
        read(spec, tmp_path)


COLOURS = np.random.default_rng(1).integers(0, 256, (3, 5, 3), dtype=np.uint8)


def with_alpha(colours, alpha):
    return encoded(Image.fromarray(np.concatenate([colours, alpha[..., None].astype(np.uint8)], axis=2)))


@pytest.mark.parametrize("alpha", [np.full((3, 5), 255), GREY[0]], ids=["opaque", "translucent"])
def test_transparency_of_a_colour_image_is_ignored(tmp_path, alpha):
    data = read(folder(tmp_path, [with_alpha(COLOURS, alpha)] * 2), tmp_path)
    assert torch.equal(data.train.inputs[0], torch.tensor(COLOURS).permute(2, 0, 1).float() / 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_image_drawn_only_in_its_transparency_is_refused(tmp_path, mode):
    black = np.zeros((3, 5, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(with_alpha(black, GREY[0]))).convert(mode)
    with pytest.raises(InputError, match=f"training row 0 is an image of mode {mode} drawn only in its transp"):
        read(folder(tmp_path, [encoded(image)] * 2), tmp_path)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_truncated_image_is_refused_with_its_row(tmp_path, kind):
    whole = deep(np.random.default_rng(0).integers(0, 256, (64, 64)), kind)
    with pytest.raises(InputError, match="training row 1 has an image that cannot be decoded"):
        read(folder(tmp_path, [whole, whole[: len(whole) // 2]]), tmp_path).train.in_memory()


def test_a_16_bit_image_is_passed_to_the_transform_unchanged(tmp_path):
    images = [deep(grey * 16) for grey in GREY]
    spec = folder(tmp_path, images)
    data = read(UserData(spec.train, spec.test, transform=f"{__name__}:twelve_bits"), tmp_path)
    assert torch.allclose(data.train.inputs[:, 0], torch.tensor(GREY * 16 / 4095, dtype=torch.float32))


def twelve_bits(image):
    return np.asarray(image, dtype=np.float32)[None] / 4095


def ids(row):
    return torch.as_tensor(row).long()


def transformed(tmp_path, values, transform, test=None):
    for name, column in (("train", values), ("test", test or values)):
        pq.write_table(pa.table({"x": column, "label": ["a", "b"]}), tmp_path / f"{name}.parquet")
    return read(UserData("train.parquet", "test.parquet", transform=f"{__name__}:{transform}"), tmp_path)


def test_integers_of_a_transform_stay_integers_even_those_that_a_float_cannot_hold(tmp_path):
    inputs = transformed(tmp_path, [1.0, 2**53 - 1], "ids").train.inputs
    assert inputs.dtype == torch.int64
    assert inputs[:, 0].tolist() == [1, 2**53 - 1]
    save = tmp_path / "stored" / "inputs.npy"
    save.parent.mkdir()
    write_inputs(save, len(inputs), [inputs[:1], inputs[1:]])
    assert torch.equal(map_inputs(save), inputs)


def unsigned(row):
    return np.asarray(row).astype("uint16")


def flags(row):
    return np.asarray(row) > 1


def halves(row):
    return torch.as_tensor(row).half()


@pytest.mark.parametrize(
    ("transform", "kind"), [("unsigned", torch.int32), ("flags", torch.bool), ("halves", torch.float32)]
)
def test_what_a_transform_returns_keeps_its_values(tmp_path, transform, kind):
    inputs = transformed(tmp_path, [1.0, 40000.0], transform).train.inputs
    assert inputs.dtype == kind
    assert inputs[:, 0].tolist() == {"flags": [False, True]}.get(transform, [1, 40000])


def now_and_then(row):
    return torch.as_tensor(row).long() if row[0] == 1 else torch.as_tensor(row)


def complicated(row):
    return np.asarray(row) * 1j


def test_numbers_of_several_types_or_complex_ones_are_refused(tmp_path):
    with pytest.raises(InputError, match="returns float32 on training row 1, but int64 on the first: return numbers"):
        transformed(tmp_path, [1.0, 2.0], "now_and_then").train.in_memory()
    with pytest.raises(InputError, match="returns float32 for training rows and int64 for test rows: return numbers"):
        transformed(tmp_path, [2.0, 2.0], "now_and_then", test=[1.0, 1.0])
    with pytest.raises(InputError, match="returns complex numbers on training row 0"):
        transformed(tmp_path, [2.0, 2.0], "complicated")
