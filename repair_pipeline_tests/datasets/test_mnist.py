"""MNIST as App. C uses it."""

import numpy as np
import pytest

from repair_pipeline.datasets.mnist import mnist
from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import data_dir


@pytest.fixture(scope="module")
def dataset():
    return mnist(3000, np.random.default_rng(0), data_dir())


@pytest.mark.mnist
def test_three_thousand_rows_train_and_the_whole_test_set_tests(dataset):
    assert dataset.train.inputs.shape == (3000, 1, 28, 28)
    assert dataset.test.inputs.shape == (10_000, 1, 28, 28)
    assert len(set(dataset.train.ids) | set(dataset.test.ids)) == 13_000


@pytest.mark.mnist
def test_it_is_mnist(dataset):
    assert dataset.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert dataset.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.mean.item() == pytest.approx(0.1307, abs=0.002)
    assert dataset.train.inputs.mean().item() == pytest.approx(0, abs=1e-6)
    assert (dataset.test.inputs + dataset.mean).max().item() == pytest.approx(1)


@pytest.mark.mnist
def test_a_size_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"dataset\.train_size is 60001: MNIST allows 2 to 60000 training images"):
        mnist(60_001, np.random.default_rng(0), data_dir())


def no_network(*args, **kwargs):
    if kwargs.get("download"):
        raise RuntimeError("Error downloading")
    raise RuntimeError("Dataset not found. You can use download=True to download it")


def test_where_there_is_none_the_error_names_three_ways(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST", no_network)
    with pytest.raises(InputError) as refused:
        mnist(100, np.random.default_rng(0), tmp_path)
    message = str(refused.value)
    assert f"MNIST is not in {tmp_path}" in message
    assert all(way in message for way in ("REPAIR_DATA_DIR", f"{tmp_path}/MNIST/raw", "network"))
    assert len(message.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_not_created(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.MNIST", no_network)
    with pytest.raises(InputError, match="that folder does not exist"):
        mnist(100, np.random.default_rng(0), tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
