"""Files that would run code if they were loaded as a pickle."""

import pickle

import pytest
import torch

from repair_pipeline.cases.resolve import load_spec
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.weights import read_file

RAN = []


class Hostile:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self):
        return RAN.append, ("it ran",)


@pytest.fixture(autouse=True)
def _nothing_runs():
    RAN.clear()
    yield
    assert RAN == []


def as_pickle(path):
    path.write_bytes(pickle.dumps(Hostile()))


def as_torch(path):
    torch.save({"weight": Hostile()}, path)


@pytest.mark.parametrize("write", [as_pickle, as_torch])
@pytest.mark.parametrize("name", ["model.pt", "model.bin", "model.safetensors"])
def test_weights_that_hold_code_are_refused_and_nothing_runs(tmp_path, write, name):
    write(tmp_path / name)
    with pytest.raises(InputError, match=r"is no safetensors file"):
        read_file(tmp_path / name)


@pytest.mark.parametrize("write", [as_pickle, as_torch])
@pytest.mark.parametrize("name", ["train.parquet", "train.csv"])
def test_data_that_hold_code_are_refused_and_nothing_runs(tmp_path, write, name):
    write(tmp_path / name)
    with pytest.raises(InputError):
        read(UserData(name, name), tmp_path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!python/module:os"])
def test_a_case_file_is_plain_values(tmp_path, tag):
    (tmp_path / "case.yaml").write_text(f"name: {tag} ['echo']\n")
    with pytest.raises(InputError):
        load_spec(str(tmp_path / "case.yaml"))
