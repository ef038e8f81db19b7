"""CIFAR-10 (App. C) in torchvision's layout, or as Parquet in the Hugging Face layout."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from repair_pipeline.datasets.images import image_dataset
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset

_CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TORCHVISION = "cifar-10-batches-py"
_PARQUET = "cifar10/{split}-00000-of-00001.parquet"


def cifar10(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    """``train_size`` random training images; the 10,000 test images.

    Args:
        train_size: number of training images, 2 to 50,000.
        rng: draws the training images.
        folder: holds torchvision's ``cifar-10-batches-py``, whose checksums torchvision verifies, or else
            ``cifar10/{train,test}-00000-of-00001.parquet`` with columns ``img.bytes`` and ``label``. Published Parquet
            copies may be JPEG, which is not the lossless original.

    Raises:
        InputError: ``folder`` has neither, or ``train_size`` is out of range.
    """
    if (folder / _TORCHVISION).is_dir():
        return _from_torchvision(train_size, rng, folder)
    if (folder / _PARQUET.format(split="train")).is_file():
        return _from_parquet(train_size, rng, folder)
    raise InputError(
        f"CIFAR-10 is not in {folder}: set REPAIR_DATA_DIR to a folder that has {_TORCHVISION}, torchvision's, "
        f"or {_PARQUET.format(split='train')}, the Hugging Face layout"
    )


def cifar10_files(folder: Path) -> list[Path]:
    """The files in ``folder`` that the images are read from."""
    if (folder / _TORCHVISION).is_dir():
        return sorted(file for file in (folder / _TORCHVISION).iterdir() if file.is_file())
    both = [folder / _PARQUET.format(split=split) for split in ("train", "test")]
    return [file for file in both if file.is_file()]


def _from_torchvision(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    from torchvision.datasets import CIFAR10  # imported here: it takes seconds, and most commands do not need it

    train, test = (CIFAR10(str(folder), train=part) for part in (True, False))
    rows = _random_rows(train_size, len(train), rng)
    images = np.concatenate([train.data[rows], test.data])
    return _dataset(images, np.concatenate([np.array(train.targets)[rows], test.targets]), train_size)


def _from_parquet(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    train, test = (
        pq.read_table(folder / _PARQUET.format(split=split), columns=["img", "label"]) for split in ("train", "test")
    )
    train = train.take(_random_rows(train_size, len(train), rng))
    images = [_decoded(table["img"].combine_chunks().field("bytes").to_pylist()) for table in (train, test)]
    labels = [table["label"].to_numpy() for table in (train, test)]
    return _dataset(np.concatenate(images), np.concatenate(labels), train_size)


def _random_rows(train_size: int, available: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if not 2 <= train_size <= available:
        raise InputError(f"dataset.train_size is {train_size}: CIFAR-10 allows 2 to {available} training images")
    return np.sort(rng.choice(available, train_size, replace=False))


def _decoded(files: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])


def _dataset(images: NDArray[np.uint8], labels: NDArray[np.int64], train_size: int) -> Dataset:
    return image_dataset(
        images.transpose(0, 3, 1, 2),
        labels,
        white=255.0,
        train=np.arange(train_size),
        test=np.arange(train_size, len(images)),
        classes=_CLASSES,
    )
