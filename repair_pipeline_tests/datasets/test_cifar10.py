"""CIFAR-10, from either layout."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from repair_pipeline.datasets.cifar10 import cifar10
from repair_pipeline.errors import InputError

RNG = np.random.default_rng
IMAGES = {
    split: RNG(0).integers(0, 256, (count, 32, 32, 3), np.uint8) for split, count in [("train", 40), ("test", 12)]
}
LABELS = {"train": np.arange(40) % 10, "test": np.arange(12) % 10}


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def parquet(tmp_path):
    (tmp_path / "cifar10").mkdir()
    for split, images in IMAGES.items():
        cells = [{"bytes": png(image), "path": f"{at}.png"} for at, image in enumerate(images)]
        table = pa.table({"img": cells, "label": LABELS[split]})
        pq.write_table(table, tmp_path / "cifar10" / f"{split}-00000-of-00001.parquet")
    return tmp_path


class Torchvisions:
    """What is used of torchvision's class, which checks every file against the original's checksum."""

    base_folder = "cifar-10-batches-py"

    def __init__(self, folder, train):
        split = "train" if train else "test"
        self.data, self.targets = IMAGES[split], LABELS[split].tolist()

    def __len__(self):
        return len(self.data)


@pytest.fixture
def batches(tmp_path, monkeypatch):
    (tmp_path / Torchvisions.base_folder).mkdir()
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Torchvisions)
    return tmp_path


@pytest.mark.parametrize("layout", ["parquet", "batches"])
def test_rows_are_images_in_rgb_less_the_training_rows_mean(layout, request):
    dataset = cifar10(40, RNG(0), request.getfixturevalue(layout))
    assert dataset.train.inputs.shape == (40, 3, 32, 32)
    assert dataset.classes[3] == "cat"
    for split, rows in (("train", dataset.train), ("test", dataset.test)):
        pixels = (rows.inputs + dataset.mean[:, None, None]).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(pixels, IMAGES[split] / 255, atol=1e-6)
        assert rows.labels.tolist() == LABELS[split].tolist()
    np.testing.assert_allclose(dataset.mean.numpy(), IMAGES["train"].mean(axis=(0, 1, 2)) / 255, rtol=1e-5)


def test_both_layouts_choose_the_same_rows(parquet, batches):
    (parquet / "cifar10").rename(parquet / "elsewhere")
    lossless = cifar10(15, RNG(3), batches)
    (batches / "cifar-10-batches-py").rmdir()
    (parquet / "elsewhere").rename(parquet / "cifar10")
    stored = cifar10(15, RNG(3), parquet)
    assert stored.train.ids.tolist() == lossless.train.ids.tolist()
    assert len(set(stored.train.ids)) == 15


def test_a_size_out_of_range_is_refused(parquet):
    with pytest.raises(InputError, match=r"dataset\.train_size is 41: CIFAR-10 allows 2 to 40 training images"):
        cifar10(41, RNG(0), parquet)


def test_where_there_is_none_the_error_names_both_layouts(tmp_path):
    with pytest.raises(InputError) as refused:
        cifar10(10, RNG(0), tmp_path)
    assert all(way in str(refused.value) for way in ("REPAIR_DATA_DIR", "cifar-10-batches-py", "cifar10/train-"))
