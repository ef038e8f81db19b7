"""One file of a step: when it is finished, and why not."""

import os
import shutil
from pathlib import Path

import pytest

from repair_pipeline.pipeline.file import File, take_back
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.identity import read_origin, write_origin
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import silent
from repair_pipeline_tests.pipeline.conftest import case_at


@pytest.fixture
def tiny(tmp_path):
    """A case without files, and a source in its home."""
    case = case_at(tmp_path / "home")
    case.layout.home.mkdir()
    (case.layout.home / "source").write_text("as it was")
    return case


def copies(case, **more):
    """A file that is a copy of the source."""
    source, path = case.layout.home / "source", case.layout.home / "made" / "copy"
    path.parent.mkdir(exist_ok=True)
    return File(path, (source,), lambda path, progress: write_text(path, source.read_text()), **more)


def made_by(file, case, version=1):
    with file.recorded(case, "copy", version):
        file.make(file.path, silent)
    return file


def test_a_file_is_finished_when_what_it_was_made_from_is_what_there_is_whatever_the_times(tiny):
    file = copies(tiny)
    assert file.stale(tiny, 1) == "not made yet"
    made_by(file, tiny)
    assert file.stale(tiny, 1) is None
    source = file.sources[0]
    for time in (1, 2**31):
        os.utime(source, (time, time))
        assert file.stale(tiny, 1) is None
        source.write_text("as it is")
        os.utime(source, (time, time))
        assert file.stale(tiny, 1) == "source changed"
        source.write_text("as it was")
    assert file.stale(tiny, 2) == "step version 1 → 2"


def test_a_source_that_comes_or_goes_makes_stale(tiny):
    other = tiny.layout.home / "other"
    file = made_by(copies(tiny, optional=(other,)), tiny)
    assert file.stale(tiny, 1) is None
    other.write_text("here")
    assert file.stale(tiny, 1) == "other is there now"
    made_by(file, tiny)
    other.unlink()
    assert file.stale(tiny, 1) == "other is gone"
    made_by(file, tiny)
    file.sources[0].unlink()
    assert file.stale(tiny, 1) == "source is gone"


def test_a_result_that_somebody_edits_is_not_what_the_step_made(tiny):
    file = made_by(copies(tiny), tiny)
    file.path.write_text("edited")
    assert file.stale(tiny, 1) == "copy is not what the step made"


def test_a_process_that_is_killed_leaves_nothing_that_passes_for_finished(tiny):
    file = made_by(copies(tiny), tiny)
    write_origin(file.path, file.origin(tiny, "copy", 1))  # as a process that begins writes it
    assert file.stale(tiny, 1) == "it was not finished"


def test_what_an_earlier_version_left_is_not_reused_and_is_kept(tiny):
    file = copies(tiny)
    file.path.write_text("of an earlier version")
    assert file.stale(tiny, 1) == "made by an earlier version, which did not record what from"
    made_by(file, tiny)
    assert file.stale(tiny, 1) is None
    assert file.path.with_name(".copy.earlier").read_text() == "of an earlier version"


def test_a_home_that_is_copied_is_finished(tiny, tmp_path):
    made_by(copies(tiny), tiny)
    there = Path(shutil.copytree(tiny.layout.home, tmp_path / "copied", copy_function=shutil.copyfile))
    case = case_at(there)
    assert copies(case).stale(case, 1) is None


def fails(file, case, version=1):
    with pytest.raises(ValueError, match="no"), file.recorded(case, "copy", version):
        raise ValueError("no")


def test_a_result_stays_with_its_record_where_making_it_again_fails(tiny):
    file = made_by(copies(tiny), tiny)
    record = read_origin(file.path)
    tiny.layout.home.joinpath("source").write_text("as it is")
    fails(file, tiny, version=2)
    assert file.path.read_text() == "as it was"
    assert read_origin(file.path) == record
    tiny.layout.home.joinpath("source").write_text("as it was")
    assert file.stale(tiny, 1) is None


def test_a_file_that_was_not_there_leaves_nothing_where_making_it_fails(tiny):
    file = copies(tiny)
    fails(file, tiny)
    assert [path.name for path in tiny.layout.home.rglob("*") if path.is_file()] == ["source"]


def test_a_file_system_without_second_names_keeps_a_copy(tiny, monkeypatch):
    def refused(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    file = copies(tiny, beside=(tiny.layout.home / "made" / "beside",))
    for path in file.paths:
        path.write_text("of an earlier version")
    made_by(file, tiny)
    assert {path.name for path in file.path.parent.glob(".*.earlier")} == {".copy.earlier", ".beside.earlier"}


def test_what_is_taken_back_is_below_the_results_alone(tmp_path):
    home = tmp_path / "only" / "home"
    home.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home)
    layout = Layout(tmp_path / "link")
    made = layout.table("cases", "x")
    write_text(made, "row")
    take_back([made], layout)
    assert [path.relative_to(home).as_posix() for path in home.rglob("*")] == ["results"]
