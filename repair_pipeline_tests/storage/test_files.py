"""Files are complete or absent, and are read as they were written."""

import multiprocessing
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from repair_pipeline.storage.files import (
    clear_partial,
    map_inputs,
    read_parquet,
    read_tensor_notes,
    read_tensors,
    write_inputs,
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


def test_what_a_library_deletes_when_it_fails_is_no_other_error(tmp_path):
    def fail(temporary):
        temporary.unlink()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_whole(tmp_path / "t.parquet", fail)


def test_partial_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    kept = [".t.parquet.origin.json", "t.parquet", ".other.parquet-abcdefgh", ".t.parquet.earlier"]
    for name in (*kept, ".t.parquet-ab3_efgh", ".t.parquet-xxxxxxxx"):
        (tmp_path / name).write_text("")
    clear_partial(tmp_path / "t.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_an_array_that_is_written_in_parts_is_as_numpy_writes_it(tmp_path):
    whole = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0))
    write_inputs(tmp_path / "a.npy", len(whole), [whole[:3], whole[3:3], whole.transpose(1, 2)[3:].transpose(1, 2)])
    np.save(tmp_path / "b.npy", whole.numpy())
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert torch.equal(map_inputs(tmp_path / "a.npy"), whole)


def test_an_array_for_which_there_is_no_room_is_an_error_and_no_signal():
    """A memory map of a file on a full disk ends the process with SIGBUS."""

    def write():
        try:
            write_inputs(Path("/dev/shm") / f"repair-{os.getpid()}.npy", (2**40, 4), parts())
        except OSError:
            os._exit(7)

    def parts():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        for _ in range(2**10):
            yield torch.zeros(2**10, 4)

    child = multiprocessing.get_context("fork").Process(target=write)
    child.start()
    child.join(60)
    assert child.exitcode == 7
