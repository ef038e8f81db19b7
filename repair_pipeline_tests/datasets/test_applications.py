"""A patch that is killed, at any point, is undone by whoever comes next, and so is a reversion completed."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pandas as pd
import pytest

from repair_pipeline.datasets import applications
from repair_pipeline.datasets.applications import undo
from repair_pipeline.datasets.patching import applied_patches, apply_patch, revert_patch
from repair_pipeline.datasets.user_data import read
from repair_pipeline.errors import InputError
from repair_pipeline_tests.datasets.test_patching import KINDS, everything, patch

_CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.truncate", "open"}


class Killed(BaseException):
    """What a process does after it was killed: nothing."""


class Killer:
    """Lets a number of changes to files in a folder happen, and then none, as if the process were gone.

    It sees what Python's audit events see: every rename, link, removal, folder and opening to write. The last file that
    was opened to be written is left half written.
    """

    def __init__(self):
        self.folder, self.left, self.opened, self.count = None, 0, None, 0
        sys.addaudithook(self)

    def __call__(self, event, arguments):
        if self.folder is None or event not in _CHANGES:
            return
        path = str(arguments[0])
        if not path.startswith(self.folder) or (event == "open" and not _to_write(arguments)):
            return
        if self.count >= self.left:
            if self.opened and os.path.exists(self.opened):
                torn, self.opened, folder = self.opened, None, self.folder
                self.folder = None
                os.truncate(torn, os.path.getsize(torn) // 2)
                self.folder = folder
            raise Killed
        self.count += 1
        self.opened = path if event == "open" else None

    @contextmanager
    def after(self, changes, folder):
        self.folder, self.left, self.opened, self.count = str(folder), changes, None, 0
        try:
            yield self
        finally:
            self.folder = None


def _to_write(arguments):
    _, mode, flags = arguments
    return (isinstance(mode, str) and set(mode) & set("wax+")) or bool(flags & (os.O_WRONLY | os.O_RDWR))


KILLER = Killer()


def no_links(source, target):
    raise OSError("no hard links here")


MANY = ["parquet", "csv", "folder of parquet", "images", "without links"]


class Place:
    """Training data with a patch of them, made anew from a copy."""

    def __init__(self, folder, kind):
        self.first, self.made = folder / "first", folder / "made"
        self.first.mkdir()
        self.spec = KINDS[kind](self.first)
        self.rows = patch(read(self.spec, self.first), drop=[0, 4], relabel=[2, 5])
        self.train = self.made / self.spec.train

    def anew(self):
        shutil.rmtree(self.made, ignore_errors=True)
        shutil.copytree(self.first, self.made)

    def apply(self, **options):
        return apply_patch(self.spec, self.made, self.rows, "x", **options)

    def revert(self):
        return revert_patch(self.spec, self.made, "x")

    def files(self):
        return everything(self.made)

    def applied(self):
        return applied_patches(self.spec, self.made)

    def killed(self, action, point):
        """Whether the action was killed after a number of changes to files."""
        try:
            with KILLER.after(point, self.made):
                action()
        except Killed:
            return True
        return False

    def goes_on(self, point):
        """Go on after a kill with one command or another, depending on where it was; returns which."""
        then, applied = ("apply", "revert", "run")[point % 3], self.applied()
        if then == "apply" and not applied:
            self.apply()
        elif then == "revert" and applied:
            self.revert()
        else:
            undo(self.train)
        return then


@pytest.fixture(params=MANY)
def place(request, tmp_path, monkeypatch):
    if request.param == "without links":
        monkeypatch.setattr(os, "link", no_links)
    return Place(tmp_path, "csv" if request.param == "without links" else request.param)


def test_an_application_that_is_killed_at_any_point_is_undone_or_done(place):
    place.anew()
    before = place.files()
    place.apply()
    after = place.files()
    for point in itertools.count():
        place.anew()
        if not place.killed(place.apply, point):
            break
        applied = place.applied()
        then = place.goes_on(point)
        assert place.files() == (after if then != "revert" and (applied or then == "apply") else before), point
        assert place.applied() == (["x"] if place.files() == after else [])
    assert point > 10


def test_a_reversion_that_is_killed_at_any_point_is_completed(place):
    place.anew()
    before = place.files()
    place.apply()
    after = place.files()
    for point in itertools.count():
        place.anew()
        place.apply()
        if not place.killed(place.revert, point):
            break
        applied = place.applied()
        then = place.goes_on(point)
        is_after = then == "apply" if not applied else then != "revert"
        assert place.files() == (after if is_after else before), point
    assert point > 3


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder of parquet"])
def test_a_reversion_that_keeps_added_rows_is_completed_too(tmp_path, kind):
    place = Place(tmp_path, kind)
    place.made = place.first  # the copies are of data that are patched and changed
    place.apply()
    add_row(place.first, place.spec)
    place.made = tmp_path / "made"
    place.anew()
    changed = place.files()
    place.revert()
    reverted = place.files()
    assert {"n0", "n4", "mine"} <= set(read(place.spec, place.made).train.ids)
    for point in itertools.count():
        place.anew()
        if not place.killed(place.revert, point):
            break
        applied = place.applied()
        undo(place.train)
        assert place.files() == (changed if applied else reverted), point
    assert point > 5


def add_row(folder, spec):
    """The owner adds a row to the patched data."""
    train = folder / spec.train
    row = pd.DataFrame({"name": ["mine"], "x": [0.25], "label": ["a"]})
    if train.suffix == ".csv":
        row.to_csv(train, mode="a", header=False, index=False)
    else:
        file = train / "0.parquet" if train.is_dir() else train
        pd.concat([pd.read_parquet(file), row]).to_parquet(file, index=False)


def test_a_fault_while_the_fault_is_undone_is_undone_by_the_next(place, monkeypatch):
    place.anew()
    before, move = place.files(), applications._move

    def broken(*_):
        raise OSError("the disk is gone")

    def full():
        monkeypatch.setattr(applications, "_move", broken)
        raise OSError("no space left on device")

    with pytest.raises(InputError, match=r"the patch x of .* cannot be undone \(the disk is gone\)"):
        place.apply(note=full)
    monkeypatch.setattr(applications, "_move", move)
    assert place.applied() == []
    assert place.files() != before
    place.apply()
    place.revert()
    assert place.files() == before


CHILD = """
import os, signal, sys
from pathlib import Path
from repair_pipeline_tests.datasets import test_applications as tests
from repair_pipeline.datasets.patching import apply_patch, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
folder, what, point = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
spec = UserData("parts", "test.parquet", id="name")
class Dead(BaseException):
    def __init__(self): os.kill(os.getpid(), signal.SIGKILL)
tests.Killed = Dead
with tests.KILLER.after(point, folder):
    if what == "apply":
        apply_patch(spec, folder, tests.patch(read(spec, folder), [0, 4], [2, 5]), "x")
    else:
        revert_patch(spec, folder, "x")
"""


@pytest.mark.parametrize(("what", "share"), [("apply", 0.5), ("apply", 0.8), ("revert", 0.5)])
def test_a_process_that_is_really_killed_leaves_nothing_half_done(tmp_path, what, share):
    place = Place(tmp_path, "folder of parquet")
    place.anew()
    before = place.files()
    if what == "revert":
        place.apply()
    with KILLER.after(10**6, place.made) as seen:
        place.apply() if what == "apply" else place.revert()
    place.anew()
    if what == "revert":
        place.apply()
    unkilled = place.files()
    point = int(share * seen.count)
    killed = subprocess.run([sys.executable, "-c", CHILD, str(place.made), what, str(point)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert place.files() != unkilled
    assert undo(place.train).patch == "x"
    assert place.files() == before


def test_a_file_that_was_changed_after_a_kill_is_not_overwritten(tmp_path):
    place = Place(tmp_path, "csv")
    place.anew()

    def killed():
        KILLER.left = 0

    with pytest.raises(Killed), KILLER.after(10**6, place.made):
        place.apply(note=killed)
    place.train.write_text(place.train.read_text() + "mine,0.5,a\n")
    state = place.files()
    with pytest.raises(InputError, match=r"to keep it as it is, delete .*; to get the original back, move"):
        undo(place.train)
    assert place.files() == state
    place.train.with_name("train.csv.before-x").unlink()
    assert undo(place.train).patch == "x"
    assert "mine" in read(place.spec, place.made).train.ids
