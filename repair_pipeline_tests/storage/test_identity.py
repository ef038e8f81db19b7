"""Digests of files: each file is read once, and again when it may have changed."""

import os
import time
from hashlib import blake2b
from pathlib import Path

import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.storage import identity
from repair_pipeline.storage.identity import Digests, Origin, read_origin, record_path, write_origin


@pytest.fixture
def digests(tmp_path):
    return Digests(tmp_path / "digests.sqlite")


@pytest.fixture
def reads(monkeypatch):
    """The names of the files that are read from now on."""
    names, read = [], identity._read

    def counted(file):
        names.append(file.name)
        return read(file)

    monkeypatch.setattr(identity, "_read", counted)
    return names


def settled(monkeypatch):
    """Treat the files as old enough for their times to show every change."""
    monkeypatch.setattr(identity, "_CLOCK_STEP", -1.0)


def test_the_digest_depends_on_names_and_bytes_and_not_on_the_folder(digests, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(b"content")
    one, other = ({"file": tmp_path / folder / "file"} for folder in ("a", "b"))
    content = blake2b(b"content", digest_size=16).digest()
    assert digests.of(one) == digests.of(other) == blake2b(b"file\0" + content, digest_size=16).hexdigest()
    assert digests.of({"renamed": tmp_path / "a" / "file"}) != digests.of(one)


def test_a_cached_file_is_not_read_again_by_this_or_another_process(digests, tmp_path, reads, monkeypatch):
    settled(monkeypatch)
    files = {str(at): tmp_path / str(at) for at in range(3)}
    for file in files.values():
        file.write_text(file.name)
    first = digests.of(files)
    assert digests.of(files) == Digests(digests.kept).of(files) == first
    assert reads == ["0", "1", "2"]


def test_a_file_edited_in_place_with_its_old_time_and_size_is_read_again(digests, tmp_path, monkeypatch):
    settled(monkeypatch)
    file = tmp_path / "file"
    file.write_text("before")
    before, digest = file.stat(), digests.of({"": file})
    time.sleep(0.02)  # the clock of a file system ticks some hundred times a second
    with file.open("r+") as opened:
        opened.write("after!")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert digests.of({"": file}) != digest


def test_a_file_that_has_just_changed_is_not_cached(digests, tmp_path, reads):
    file = tmp_path / "file"
    file.write_text("now")
    digests.of({"": file})
    digests.of({"": file})
    assert reads == ["file", "file"]


def test_a_file_that_cannot_be_read_is_named(digests, tmp_path):
    with pytest.raises(InputError, match=r"absent cannot be read \(No such file or directory\)"):
        digests.of({"": tmp_path / "absent"})


def test_a_record_is_read_as_it_was_written(tmp_path):
    origin = Origin("influence_ewc", 3, {"dataset.train": "ab"}, {"results/x": "cd"}, "ef")
    write_origin(tmp_path / "table.parquet", origin)
    assert read_origin(tmp_path / "table.parquet") == origin
    assert record_path(tmp_path / "table.parquet") == tmp_path / ".table.parquet.origin.json"


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"step": "a", "version": "one"}'])
def test_a_missing_or_invalid_record_is_none(tmp_path, content):
    if content is not None:
        Path(record_path(tmp_path / "table")).write_bytes(content)
    assert read_origin(tmp_path / "table") is None
