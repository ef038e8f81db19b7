"""Images as owners have them: each is read by a stated rule, or refused with its row."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError

COLOURS = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
FILES = UserData("train.parquet", "test.parquet")


def encoded(mode="L", form="PNG", **options):
    content = io.BytesIO()
    Image.fromarray(COLOURS).convert(mode).save(content, form, **options)
    return content.getvalue()


GREY, COLOUR = encoded(), encoded("RGB")


def table(folder, train, test=None, kind=None):
    for name, images in (("train", train), ("test", test or train)):
        labels = [at % 2 for at in range(len(images))]
        columns = {"image": pa.array(images, kind or pa.binary()), "label": labels}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder


def turned(orientation, form="JPEG"):
    exif = Image.Exif()
    exif[0x112] = orientation
    return encoded("RGB", form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))


def several(form):
    frames, content = [Image.fromarray(COLOURS + at) for at in range(3)], io.BytesIO()
    frames[0].save(content, form, save_all=True, append_images=frames[1:])
    return content.getvalue()


def refused(folder, spec=FILES):
    with pytest.raises(InputError) as caught:
        read(spec, folder).train.in_memory()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Grey and colour.


def test_the_training_images_decide_whether_all_are_in_colour(tmp_path):
    data = read(FILES, table(tmp_path, [COLOUR, COLOUR, GREY], [GREY, GREY]))
    assert data.train.inputs.shape == (3, 3, 4, 5)
    grey = np.asarray(Image.open(io.BytesIO(GREY))) / 255
    np.testing.assert_allclose(data.test.inputs, np.broadcast_to(grey, (2, 3, 4, 5)), atol=1e-6)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([GREY, GREY, GREY, COLOUR], None, "training row 3 is an image in colour (RGB), but 3 of 4 training images"),
        ([GREY, encoded("P"), GREY], None, "training row 1 is an image in colour (P), but 2 of 3 training images"),
        ([GREY] * 2, [GREY, COLOUR], "test row 1 is an image in colour (RGB), but the training images are grey"),
        ([GREY] * 2, [COLOUR, COLOUR], "test row 0 is an image in colour (RGB), but the training images are grey"),
    ],
)  # fmt: skip
def test_a_colour_image_among_grey_ones_is_named(tmp_path, train, test, message):
    assert message in refused(table(tmp_path, train, test))


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_grey_is_grey_with_two_values_and_with_transparency(tmp_path, mode):
    data = read(FILES, table(tmp_path, [GREY, encoded(mode)]))
    assert data.train.inputs.shape == (2, 1, 4, 5)


@pytest.mark.parametrize(("mode", "form"), [("CMYK", "TIFF"), ("P", "PNG"), ("P", "GIF"), ("YCbCr", "JPEG")])
def test_images_of_other_colours_are_read_as_red_green_and_blue(tmp_path, mode, form):
    image = encoded(mode, form)
    data = read(FILES, table(tmp_path, [image, image]))
    expected = np.asarray(Image.open(io.BytesIO(image)).convert("RGB")) / 255
    np.testing.assert_allclose(data.train.inputs[0], expected.transpose(2, 0, 1), atol=1e-6)


def drawn_in_transparency(mode):
    image = Image.new("RGBA" if mode == "RGBA" else "P", (5, 4))
    content = io.BytesIO()
    if mode == "RGBA":
        image.putalpha(Image.fromarray(COLOURS[..., 0]))
        image.save(content, "PNG")
    else:
        image.putpalette([7] * 768)
        image.putdata([at % 4 for at in range(20)])
        image.save(content, "PNG", transparency=bytes([0, 80, 160, 255]))
    return content.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_an_image_that_is_drawn_in_its_transparency_is_refused(tmp_path, mode):
    image = drawn_in_transparency(mode)
    assert f"of mode {mode} drawn only in its transparency" in refused(table(tmp_path, [image, image]))


# What is read in another way than other programs do is said.


@pytest.mark.parametrize(
    ("image", "says", "fine"),
    [
        (turned(6), "2 of 3 training images stored turned or mirrored (EXIF orientation), and read as stored", False),
        (turned(3, "WEBP"), "2 of 3 training images stored turned or mirrored (EXIF orientation)", False),
        (several("TIFF"), "2 of 3 training images with several frames, of which the first is read", False),
        (several("GIF"), "2 of 3 training images with several frames, of which the first is read", False),
        (encoded("RGBA"), "2 of 3 training images with an alpha channel, which is dropped", True),
    ],
)
def test_what_is_lost_of_images_is_said(tmp_path, image, says, fine):
    data = read(FILES, table(tmp_path, [image, COLOUR, image], [COLOUR]))
    assert [(says in remark.says, remark.fine) for remark in data.remarks] == [(True, fine)]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pixels_are_read_as_stored(tmp_path, orientation):
    image = turned(orientation, "WEBP")
    data = read(FILES, table(tmp_path, [image, image]))
    np.testing.assert_allclose(data.train.inputs[0], COLOURS.transpose(2, 0, 1) / 255, atol=1e-6)
    assert bool(data.remarks) == (orientation != 1)


# What cannot be read is named.


def nan():
    pixels, content = np.full((4, 5), np.nan, dtype=np.float32), io.BytesIO()
    Image.fromarray(pixels).save(content, "TIFF")
    return content.getvalue()


UNREADABLE = {
    "no image": (None, "training row 2 has no image, but null: fix or drop the row"),
    "nothing": (b"", "training row 2 has 0 bytes that are not an image"),
    "text": (b"hello", "training row 2 has 5 bytes that are not an image"),
    "a header alone": (GREY[:45], "training row 2 has an image that cannot be decoded"),
    "half of a JPEG": (encoded("L", "JPEG")[:300], "training row 2 has"),
    "not a number": (nan(), "training row 2 is an image of mode F with values from nan to nan, outside [0, 1]"),
}


@pytest.mark.parametrize("wrong", UNREADABLE)
def test_an_image_that_cannot_be_read_is_named(tmp_path, wrong):
    image, message = UNREADABLE[wrong]
    assert message in refused(table(tmp_path, [GREY, GREY, image, GREY], [GREY]))


HUGGING_FACE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize("missing", [None, {"bytes": None, "path": "x.png"}])
def test_a_row_of_hugging_face_without_bytes_is_named(tmp_path, missing):
    rows = [{"bytes": GREY, "path": "x.png"}, missing]
    assert "training row 1 has no image, but null" in refused(table(tmp_path, rows, kind=HUGGING_FACE))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_images_are_read_from_bytes_of_every_kind(tmp_path, kind):
    assert read(FILES, table(tmp_path, [GREY, GREY], kind=kind)).train.inputs.shape == (2, 1, 4, 5)


# Folders of images.


@pytest.fixture
def folders(tmp_path):
    for part, shift in (("train", 0), ("test", 1)):
        for at, label in enumerate(("cat", "cat", "dog", "dog")):
            file = tmp_path / part / label / f"{at}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(COLOURS[..., 0] + np.uint8(10 * at + shift)).save(file)
    return tmp_path


IMAGES = UserData("train", "test")


def test_hidden_files_and_folders_are_not_read_and_named(folders):
    (folders / "train" / "cat" / "._0.png").write_bytes(b"macOS")
    (folders / "train" / "cat" / ".DS_Store").write_bytes(b"macOS")
    (folders / "train" / ".ipynb_checkpoints").mkdir()
    (folders / "train" / ".ipynb_checkpoints" / "0-checkpoint.png").write_bytes(GREY)
    (folders / "train" / "Thumbs.db").write_bytes(b"Windows")
    data = read(IMAGES, folders)
    assert (len(data.train), data.classes) == (4, ("cat", "dog"))
    (remark,) = data.remarks
    assert remark.fine
    assert remark.says == "train: hidden, so not read: cat/.DS_Store, cat/._0.png, .ipynb_checkpoints and 1 more"


def test_other_files_and_empty_folders_are_named(folders):
    (folders / "train" / "cat" / "deep").mkdir()
    (folders / "train" / "cat" / "deep" / "5.png").write_bytes(GREY)
    (folders / "train" / "cat" / "6.gif").write_bytes(encoded("P", "GIF"))
    (folders / "train" / "7.png").write_bytes(GREY)
    (folders / "train" / "bird").mkdir()
    data = read(IMAGES, folders)
    assert len(data.train) == 4
    assert [(remark.says, remark.fine) for remark in data.remarks] == [
        ("train: no image in the folder of a class, so not read: cat/6.gif, cat/deep, 7.png", False),
        ("train: without images, so no class: bird", False),
    ]


@pytest.mark.parametrize(
    ("content", "what"), [(b"junk", "has 4 bytes that are"), (GREY[:60], "has an image that cannot")]
)
def test_a_file_that_cannot_be_read_is_named(folders, content, what):
    (folders / "train" / "dog" / "2.png").write_bytes(content)
    assert f"training row 2 (dog/2.png) {what}" in refused(folders, IMAGES)


@pytest.mark.parametrize("fields", [{"id": "path"}, {"features": ("a",)}, {"image": "a"}, {"metadata": ("a",)}])
def test_a_folder_of_images_has_no_other_columns(folders, fields):
    message = refused(folders, UserData("train", "test", **fields))
    assert f"dataset.{next(iter(fields))} is " in message
    assert "whose only column is path: leave it out" in message
    assert read(UserData("train", "test", metadata=("path",)), folders).metadata.num_rows == 8
