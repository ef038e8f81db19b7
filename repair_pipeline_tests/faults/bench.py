"""A tiny case in a folder, commands on it in processes of their own, and whether a home is as it should be."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import repair_pipeline.cli.main as command_line
import repair_pipeline.definitions  # noqa: F401  # imported once, not by every process
from repair_pipeline.defs.partitions import dagster_instance
from repair_pipeline.evaluation.gate import Verdict
from repair_pipeline.pipeline import gate
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.store import open_store
from repair_pipeline_tests.faults.moments import Moments
from repair_pipeline_tests.pipeline.running import values

CASE = """\
name: wards
dataset: {train: train.csv, test: test.csv, id: row}
model: {factory: "repair_pipeline_tests.faults.net:Net"}
training: {learning_rate: 0.03, max_epochs: 10}
influence: {loss: {}, random: {}}
treat: [loss]
causes: {top: 12}
treatments: {retrain: {}, base: {}}
gate: {controls: 3}
"""
RUN = ("run", "wards.yaml")
SECONDS = 600
"""After which a command hangs."""
_CLOCKS = {"read_at", "created_at", "decided_at", "seconds"}
_BY_ORDER = ("registered/", "verdicts/")
_BY_RUN = {"run.json", "report.html"}
"""Files that hold ids of runs or times: that they exist is compared, and not what they say."""

Work = Sequence[str] | Callable[["Bench"], object]
"""The arguments of a command, or a function."""


def stores(bench: Bench) -> None:
    """The first use of MLflow and of Dagster in a home."""
    layout = Layout(bench.home)
    open_store(layout).search_experiments()
    with dagster_instance(layout) as instance:
        instance.get_runs_count()


STATES: Mapping[str, tuple[str, Work]] = {
    "warm": ("fresh", stores),
    "finished": ("warm", RUN),
    "patched": ("finished", ("patch", "apply", "CASE")),
    "reverted": ("patched", ("patch", "revert", "CASE")),
    "promoted": ("finished", ("promote", "wards")),
    "rolled back": ("promoted", ("rollback", "wards")),
}
"""States of a home: the state before, and what leads from there. ``fresh`` is the owner's files and no home."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; minus the number of the signal that ended it; 71 if it hangs."""
    text: str
    """What it printed, both streams."""

    @property
    def last(self) -> str:
        """The last line."""
        return (self.text.strip().splitlines() or [""])[-1][:300]


class Bench:
    """A folder ``place`` with the tiny case; its states are kept, and put back to the same path."""

    def __init__(self, folder: Path) -> None:
        self.place, self._kept = folder / "place", folder / "kept"
        self.home, self.scratch = self.place / "home", folder / "tmp"
        self._said = dict[str, dict[str, Any]]()
        self._moments = dict[Any, dict[str, int]]()
        self.seconds = 0.0
        """How long a run takes in a warm home."""
        self.kilobytes = 0
        """How much a run leaves in a fresh home."""
        self.scratch.mkdir(parents=True, exist_ok=True)

    def warm_up(self) -> None:
        """Run the case once in this process, so that commands on other benches need not import anything."""
        self.restore("fresh")
        before = os.getcwd(), dict(os.environ)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            self._enter()
            command_line.app(args=list(RUN), standalone_mode=False)
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])

    def restore(self, state: str) -> None:
        """Put the folder into one of ``STATES``."""
        if os.path.ismount(self.home):
            subprocess.run(["umount", str(self.home)], check=True)
        shutil.rmtree(self.place, ignore_errors=True)
        if state == "fresh":
            self.place.mkdir(parents=True)
            rows(80, 1, flipped=True).to_csv(self.place / "train.csv", index=False)
            rows(160, 2, flipped=False).to_csv(self.place / "test.csv", index=False)
            (self.place / "wards.yaml").write_text(CASE)
            return
        kept = self._kept / state
        if not kept.exists():
            before, work = STATES[state]
            self.restore(before)
            begun = time.monotonic()
            ended = self.run(self.named(work))
            assert ended.code == 0, f"{work}: {ended.text}"
            if state == "finished":
                self.seconds = time.monotonic() - begun
                self.kilobytes = sum(file.stat().st_size for file in self.home.rglob("*") if file.is_file()) // 1024
            self._said[state] = self.says()
            shutil.copytree(self.place, kept)
        else:
            shutil.copytree(kept, self.place)

    def know(self, state: str) -> None:
        """Make an undisturbed home in one of ``STATES`` to compare with, if there is none yet."""
        if state not in self._said:
            self.restore(state)

    @cached_property
    def case_id(self) -> str:
        """The id of the case. It has run."""
        [folder] = (self.home / "results" / "cases").iterdir()
        return folder.name.removeprefix("case_id=")

    def named(self, work: Work) -> Work:
        """The work with the id of the case in the place of CASE."""
        if callable(work):
            return work
        return [self.case_id if part == "CASE" else part for part in work]

    # Commands.

    def start(self, work: Work, prepare: Callable[[], object] = lambda: None) -> int:
        """Begin ``repair`` with these arguments, or a function, in a process of its own; returns its id.

        Args:
            work: the arguments or the function.
            prepare: called in that process before the work.
        """
        sys.stdout.flush()
        if pid := os.fork():
            return pid
        code = 70
        try:
            self._enter()
            self._redirect()
            prepare()
            work(self) if callable(work) else command_line.app(args=list(work))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def ended(self, pid: int, seconds: float = SECONDS) -> Ended:
        """Wait for a process; one that takes too long is killed."""
        until, log = time.monotonic() + seconds, self._log(pid)
        while (answer := os.waitpid(pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return Ended(71, f"it hangs after: {log.read_text(errors='replace')}")
            time.sleep(0.005)
        text = log.read_text(errors="replace") if log.exists() else ""
        log.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(answer[1]), text)

    def run(self, work: Work, prepare: Callable[[], object] = lambda: None) -> Ended:
        """Run ``repair`` with these arguments, or a function, in a process of its own."""
        return self.ended(self.start(work, prepare))

    def moments(self, work: Work) -> dict[str, int]:
        """How many moments the work has in the present state, by step; those outside of steps have the name ``""``.

        The work is done once to count them, on a copy of the state.
        """
        key = work if callable(work) else tuple(work)
        if key not in self._moments:
            aside, counted = self.place.with_name("aside"), self.scratch / "moments.json"
            shutil.copytree(self.place, aside)
            counting = Moments(self.place, None, lambda: None)

            def count(bench: Bench) -> None:
                try:
                    work(bench) if callable(work) else command_line.app(args=list(work))
                finally:
                    counted.write_text(json.dumps(counting.seen))

            self.run(count, counting.begin)
            self._moments[key] = json.loads(counted.read_text())
            shutil.rmtree(self.place)
            aside.rename(self.place)
        return self._moments[key]

    def _log(self, pid: int) -> Path:
        return self.scratch / f"{pid}.log"

    def _enter(self) -> None:
        """Make this process that of a command on the tiny case."""
        os.chdir(self.place)
        os.environ.update(REPAIR_HOME=str(self.home), TMPDIR=str(self.scratch), COLUMNS="200")
        tempfile.tempdir = None
        gate.judge = accept

    def _redirect(self) -> None:
        log = os.open(self._log(os.getpid()), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))  # pytest has its own

    # What is left.

    def says(self) -> dict[str, Any]:
        """What the folder says, times and ids of runs aside: results, the owner's files, MLflow and Dagster."""
        results = self.home / "results"
        files = [path for path in results.rglob("*") if path.is_file() and path.name[0] != "."]
        said: dict[str, Any] = {
            str(path.relative_to(results)): None if path.name in _BY_RUN else _without_clocks(values(path))
            for path in files
        }
        said |= self.owners()
        for name, (database, sql) in _QUERIES.items():
            said[name] = ask(self.home / database, sql)
        return said

    def owners(self) -> dict[str, bytes]:
        """The owner's files, and what patches keep beside them, the time of an application aside."""
        files = [path for path in self.place.iterdir() if path.is_file()]
        return {path.name: re.sub(rb'"at":"[^"]*"', b"", path.read_bytes()) for path in files}

    def differs(self, state: str, shared: bool = False) -> str | None:
        """What differs from an undisturbed home in one of ``STATES``, or is wrong whatever has run; None: nothing.

        Args:
            shared: whether other cases of the same data and model are in the home, too. What is theirs is not compared,
                nor what goes by which case comes first: numbers of versions, and failures that count once.
        """
        wanted, now = self._said[state], self.says()
        names = wanted.keys() | now.keys()
        if shared:
            names = {name for name in wanted if name not in _QUERIES and not name.startswith(_BY_ORDER)}
        if differing := sorted(name for name in names if wanted.get(name, "absent") != now.get(name, "absent")):
            return f"differs: {', '.join(differing[:3])}"
        if left := self.left_behind():
            return f"left behind: {', '.join(left[:3])}"
        return self.unsound()

    def left_behind(self) -> list[str]:
        """Partial files of processes that are gone."""
        results = self.home / "results"
        found = [path.relative_to(results) for path in results.rglob(".*-????????")]
        # Rows of `cases` and copies of patches are small, and not made under a lock: nobody knows who writes one still.
        return [str(path) for path in found if path.parts[0] not in ("cases", "patches")]

    def unsound(self, running: bool = False) -> str | None:
        """What is wrong with the stores, whatever has run; None if nothing is.

        Args:
            running: whether a run of MLflow may be open, because its process was killed and nobody came next.
        """
        for database in self.home.rglob("*.db"):
            if (found := ask(database, "PRAGMA integrity_check")) != [("ok",)]:
                return f"{database.name} is damaged: {found}"
        open_runs = [] if running else ask(self.home / "mlflow/mlflow.db", _OPEN)
        return f"MLflow runs are not closed: {open_runs}" if open_runs else None


_OPEN = "SELECT name FROM runs WHERE lifecycle_stage = 'active' AND status = 'RUNNING'"
_QUERIES = {
    "model versions": ("mlflow/mlflow.db", "SELECT name, version FROM model_versions ORDER BY 1, 2"),
    "aliases": ("mlflow/mlflow.db", "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2"),
    "tags of models": ("mlflow/mlflow.db", "SELECT name, key, value FROM registered_model_tags ORDER BY 1, 2"),
    "MLflow runs": (
        "mlflow/mlflow.db",
        "SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY 1, 2",
    ),
    "MLflow metrics": (
        "mlflow/mlflow.db",
        "SELECT name, key, value FROM runs JOIN latest_metrics USING (run_uuid) "
        "WHERE lifecycle_stage = 'active' AND key <> 'seconds' ORDER BY 1, 2, 3",
    ),
    "assets": (
        "dagster_home/history/runs/index.db",
        "SELECT DISTINCT asset_key, partition FROM event_logs "
        "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY 1, 2",
    ),
}


def ask(database: Path, sql: str) -> list[tuple[Any, ...]]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(sql).fetchall()


def _without_clocks(content: Any) -> Any:
    said, notes = content
    return {key: value for key, value in said.items() if key not in _CLOCKS} if isinstance(said, dict) else said, notes


_JUDGE = gate.judge


def accept(*given: Any) -> list[Verdict]:
    """Every repair is accepted, so that there is a model to register."""
    return [replace(verdict, verdict="accepted") for verdict in _JUDGE(*given)]


def rows(count: int, seed: int, flipped: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)).round(6)
    scanner, sick = np.where(x[:, 0] > 0.3, "B", "A"), x[:, 1] > 0
    said = np.where(sick & ~((scanner == "B") & flipped), "sick", "well")
    names = [f"{seed}-{at}" for at in range(count)]
    return pd.DataFrame({"row": names, "x": x[:, 0], "y": x[:, 1], "label": said, "scanner": scanner})
