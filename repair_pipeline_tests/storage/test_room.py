"""A full disk, or a place that cannot be written, is one line whoever raises the error."""

import errno
import os
import resource
import sqlite3

import pytest
import torch
from safetensors import SafetensorError

from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import write_tensors
from repair_pipeline.storage.room import UnwritableError, require_room, unwritable


def of(number):
    return OSError(number, os.strerror(number), "/there/file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told(number):
    assert str(unwritable(of(number))).startswith(f"no room is left on the disk ([Errno {number}]")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_cannot_be_written_is_told_with_its_path(number):
    assert "/there/file" in str(unwritable(of(number)))


def test_a_disk_that_fails_is_told_also_by_sqlite():
    shared_file_cannot_grow = sqlite3.OperationalError("disk I/O error")
    shared_file_cannot_grow.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    for error in (of(errno.EIO), shared_file_cannot_grow):
        assert str(unwritable(error)).startswith("the disk is full, or fails (")


def test_other_errors_are_left_alone():
    for error in (of(errno.ENOENT), ValueError("x"), PermissionError("no errno"), sqlite3.OperationalError("locked")):
        assert unwritable(error) is None


def test_it_is_found_behind_the_errors_that_were_raised_from_it():
    try:
        try:
            raise of(errno.ENOSPC)
        except OSError as error:
            raise RuntimeError("a library's own") from error
    except RuntimeError as error:
        found = unwritable(error)
    assert isinstance(found, InputError)
    assert "No space left on device" in str(found)
    assert unwritable(found) is found


def test_errors_that_are_raised_from_each_other_end():
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert unwritable(one) is None


def test_a_database_without_room_is_told(tmp_path):
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE t (a)")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.executemany("INSERT INTO t VALUES (?)", [("x" * 999,)] * 99)
    assert "database or disk is full" in str(unwritable(full.value))


def test_what_safetensors_raises_is_told(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(SafetensorError) as full:
            write_tensors(tmp_path / "t.safetensors", {"t": torch.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(unwritable(full.value), UnwritableError)
    assert list(tmp_path.iterdir()) == []


def test_room_is_required(tmp_path):
    require_room(tmp_path, 1)
    with pytest.raises(OSError, match="No space left on device") as refused:
        require_room(tmp_path, 2**62)
    assert unwritable(refused.value) is not None
