"""MNIST (App. C): a random subset of the 60,000 training images and the whole test set."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repair_pipeline.datasets.images import image_dataset
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset

if TYPE_CHECKING:
    from torchvision.datasets import MNIST


def mnist(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    """``train_size`` random training images; the 10,000 test images.

    Args:
        train_size: number of training images, 2 to 60,000.
        rng: draws the training images.
        folder: read in torchvision's layout (``folder/MNIST/raw``); if it has no MNIST, it is downloaded there.

    Raises:
        InputError: ``folder`` has no MNIST and the download fails, or ``train_size`` is out of range.
    """
    train, test = _read(folder)
    if not 2 <= train_size <= len(train):
        raise InputError(f"dataset.train_size is {train_size}: MNIST allows 2 to {len(train)} training images")
    images = np.concatenate([train.data.numpy(), test.data.numpy()])[:, None]
    labels = np.concatenate([train.targets.numpy(), test.targets.numpy()])
    return image_dataset(
        images,
        labels,
        white=255.0,
        train=np.sort(rng.choice(len(train), train_size, replace=False)),
        test=np.arange(len(train), len(images)),
    )


def mnist_files(folder: Path) -> list[Path]:
    """The files in ``folder`` that the images are read from; none before the download."""
    return [file for file in sorted((folder / "MNIST" / "raw").glob("*-ubyte")) if file.is_file()]


def _read(folder: Path) -> tuple[MNIST, MNIST]:
    from torchvision.datasets import MNIST  # imported here: it takes seconds, and most commands do not need it

    with contextlib.suppress(RuntimeError):  # torchvision's "not found": it is downloaded below
        return MNIST(str(folder), train=True), MNIST(str(folder), train=False)
    if not folder.is_dir():
        raise InputError(_not_available(folder, "that folder does not exist"))
    try:
        # Downloaded into a temporary folder and renamed, so that an interrupted download never looks complete.
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".mnist-") as temporary,
            open(os.devnull, "w") as quiet,
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
        ):
            MNIST(temporary, download=True)
            (Path(temporary) / "MNIST").rename(folder / "MNIST")
    except (OSError, RuntimeError) as error:
        raise InputError(_not_available(folder, "it could not be downloaded")) from error
    return MNIST(str(folder), train=True), MNIST(str(folder), train=False)


def _not_available(folder: Path, why: str) -> str:
    return (
        f"MNIST is not in {folder} and {why}: set REPAIR_DATA_DIR to a folder that holds MNIST/raw, "
        f"or put the four idx files into {folder / 'MNIST' / 'raw'}, "
        "or run once with network access so that torchvision downloads it"
    )
