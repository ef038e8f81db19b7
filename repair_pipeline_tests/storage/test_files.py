"""Files are complete or absent, and are read as they were written."""

import os
import stat

import pyarrow as pa
import pytest
import torch

from repair_pipeline.storage.files import (
    read_parquet,
    read_tensor_notes,
    read_tensors,
    write_parquet,
    write_tensors,
    write_text,
    write_whole,
)

TENSORS = {
    "weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "double": torch.tensor([1e-300, -0.0, 1 / 3], dtype=torch.float64),
    "steps": torch.tensor(7),
    "empty": torch.zeros(0),
}
NOTES = {"seconds": 1.5, "settings": {"gamma": None}, "missing": ["ewc"], "name": "θ̂"}


def test_tensors_come_back_bit_for_bit(tmp_path):
    write_tensors(tmp_path / "a" / "t.safetensors", TENSORS, NOTES)
    tensors, notes = read_tensors(tmp_path / "a" / "t.safetensors")
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype
    assert notes == NOTES
    assert read_tensor_notes(tmp_path / "a" / "t.safetensors") == NOTES


def test_tensors_that_share_memory_are_written_separately(tmp_path):
    whole = torch.arange(4.0)
    write_tensors(tmp_path / "t.safetensors", {"whole": whole, "part": whole[1:3], "same": whole}, {})
    tensors, _ = read_tensors(tmp_path / "t.safetensors")
    assert [tensors[name].tolist() for name in ("whole", "part", "same")] == [[0, 1, 2, 3], [1, 2], [0, 1, 2, 3]]


def test_a_table_and_its_notes_come_back(tmp_path):
    table = pa.table({"id": ["a", "b"], "value": [1.5, None]})
    write_parquet(tmp_path / "case_id=x" / "t.parquet", table, NOTES)
    read, notes = read_parquet(tmp_path / "case_id=x" / "t.parquet")
    assert read.to_pydict() == table.to_pydict()
    assert notes == NOTES


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "t.html", "θ̂ ∖ C")
    assert (tmp_path / "t.html").read_bytes() == "θ̂ ∖ C".encode()


def broken(beside):
    beside.write_text("half")
    raise RuntimeError("disk full")


def test_a_writer_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="disk full"):
        write_whole(tmp_path / "t.txt", broken)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_raises_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "t.txt", "before")
    with pytest.raises(RuntimeError, match="disk full"):
        write_whole(tmp_path / "t.txt", broken)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t.txt", "before")]


def test_a_file_is_not_visible_before_it_is_complete(tmp_path):
    seen = []

    def write(beside):
        beside.write_text("half")
        seen.append((tmp_path / "t.txt").exists())
        seen.append(beside.name.startswith("."))  # hidden, so that it is not listed as a table
        beside.write_text("whole")

    write_whole(tmp_path / "t.txt", write)
    assert seen == [False, True]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t.txt", "whole")]


def test_others_can_read_the_results(tmp_path):
    write_text(tmp_path / "t.txt", "x")
    assert stat.S_IMODE(os.stat(tmp_path / "t.txt").st_mode) == 0o644
