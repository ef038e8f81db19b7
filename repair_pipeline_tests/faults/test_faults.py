"""One fault of some kinds; ``make faults`` makes many of all. And the harness sees what is lost."""

import os
import signal
import sqlite3
from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pytest

from repair_pipeline.datasets import applications
from repair_pipeline_tests.faults import kinds
from repair_pipeline_tests.faults.__main__ import as_markdown, put
from repair_pipeline_tests.faults.bench import RUN, Bench
from repair_pipeline_tests.faults.moments import Moments, kill

BY_NAME = {kind.name: kind for kind in kinds.KINDS}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("faults"))
    yield bench
    bench.restore("fresh")  # unmounts its disks


@pytest.mark.parametrize(
    "name",
    [
        "SIGKILL between registry calls",
        "SIGKILL in the first migration",
        "SIGKILL in patch apply",
        "SIGKILL in promote",
        "SIGTERM",
        "no room for a patch",
    ],
)
def test_nothing_is_lost(bench, name):
    assert BY_NAME[name].lost(bench, np.random.default_rng(1), 0) is None


def test_the_harness_sees_what_is_lost(bench):
    bench.restore("finished")
    assert bench.differs("finished") is None
    scores = next((bench.home / "results").rglob("influence.parquet"))
    (scores.parent / f".{scores.name}-a1b2c3d4").touch()
    assert bench.differs("finished") == f"left behind: {bench.left_behind()[0]}"
    scores.unlink()
    assert bench.differs("finished").startswith("differs: influence/")
    bench.restore("finished")
    with closing(sqlite3.connect(bench.home / "mlflow" / "mlflow.db")) as store:
        store.execute("UPDATE runs SET status = 'RUNNING'")
        store.commit()
    assert "MLflow runs" in bench.differs("finished")


def test_a_fault_is_made_in_its_step_and_nowhere_else(bench):
    bench.restore("warm")
    assert bench.moments(RUN)["influence_loss"] > 5
    ended = bench.run(RUN, Moments(bench.place, 3, kill, "influence_loss").begin)
    assert ended.code == -signal.SIGKILL
    [base] = (bench.home / "results" / "bases").iterdir()
    assert (base / "fisher_diagonal.safetensors").exists()
    assert not list((bench.home / "results").rglob("influence.parquet"))


def test_a_command_that_hangs_is_told(bench):
    bench.restore("fresh")
    assert bench.ended(bench.start(lambda _: os.read(os.pipe()[0], 1)), seconds=0.5).code == 71


def test_the_steps_of_the_tiny_case_are_those_that_make_files(bench):
    bench.restore("warm")
    assert set(kinds.STEPS) == set(bench.moments(RUN)) - {""}


def test_the_table_is_put_into_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Before\n\n<!-- faults -->\n\nold\n\n<!-- end of faults -->\n\nAfter\n")
    for _ in range(2):
        put(as_markdown([BY_NAME["SIGTERM"], BY_NAME["disk full"]], {"SIGTERM": 0, "disk full": 2}), page, "faults")
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("# Before", "After")
    assert [line[:32] for line in lines if line.startswith("| SIG")] == ["| SIGTERM | 6 | 6 | 0 | exit cod"]
    assert [line[:28] for line in lines if line.startswith("| disk")] == ["| disk full | 12 | 10 | 2 | "]
    assert len([line for line in lines if line.startswith("|")]) == 4


def test_a_patch_that_was_cut_off_after_its_decisions_leaves_them_once(bench):
    apply = bench.named(("patch", "apply", "CASE"))
    bench.know("patched")
    bench.restore("finished")

    def killed_after_the_table():
        real = applications._write

        def write(train, record):
            if record.under_way is None:  # which would make it final
                kill()
            real(train, record)

        applications._write = write

    assert bench.run(apply, killed_after_the_table).code == -signal.SIGKILL
    [applied] = (bench.home / "results" / "applied").rglob("applied.parquet")
    assert pq.ParquetFile(applied).metadata.num_rows > 0
    assert bench.run(apply).code == 0
    assert bench.differs("patched") is None


def test_a_patch_that_fails_after_its_decisions_leaves_none(bench):
    bench.restore("finished")

    def fails_after_the_table():
        real = applications._write

        def write(train, record):
            if record.applied:
                applications._write = real
                raise OSError("no more")
            real(train, record)

        applications._write = write

    ended = bench.run(bench.named(("patch", "apply", "CASE")), fails_after_the_table)
    assert (ended.code, "nothing was changed" in ended.last) == (2, True)
    assert list((bench.home / "results" / "applied").rglob("applied.parquet")) == []
