"""Weeks of nights on a driven clock, with ``repair gc``'s job after each: what a home holds must not grow.

``python -m repair_pipeline_tests.faults.nights`` prints a row a night; ``make nights`` runs it.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import time_machine

import repair_pipeline.cli.main as command_line
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.definitions import definitions
from repair_pipeline.defs.nightly import nightly
from repair_pipeline.defs.partitions import CASES, dagster_instance
from repair_pipeline.pipeline import gate
from repair_pipeline.pipeline.nightly import add_template
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import scratch_folder
from repair_pipeline_tests.faults.bench import accept, ask, rows

KEEP_DAYS = 7
FAILURES = 16
"""Reported each night."""
SPEC = {
    "name": "wards",
    "dataset": {"train": "train.csv", "test": "test.csv", "id": "row"},
    "model": {"factory": "repair_pipeline_tests.faults.net:Net"},
    "training": {"learning_rate": 0.03, "max_epochs": 10},
    "influence": {"loss": {}, "random": {}},
    "treat": ["loss"],
    "causes": {"top": 12},
    "treatments": {"retrain": {}, "base": {}},
    "gate": {"controls": 3},
    "nightly": {"failures": "incoming"},
}
BROKEN = SPEC | {"name": "broken", "model": {"factory": "repair_pipeline_tests.faults.net:broken"}}
"""A template whose nights fail: its model cannot be built."""
PROMOTED, ROLLED_BACK, PATCHED = (3, 10, 17, 24), (18,), (5, 12, 19, 26)
"""The nights after which the owner promotes, rolls back, and applies the night's patch and reverts it."""


@dataclass(frozen=True)
class Night:
    """What the home holds after a night."""

    night: int
    verdicts: int
    whole_cases: int
    results_mb: float
    mlflow_mb: float
    dagster_mb: float
    mlflow_runs: int
    dagster_runs: int
    partitions: int
    locks: int
    memory_mb: float


def nights(place: Path, count: int) -> Iterator[Night]:
    """Run nights in a folder, and yield what the home holds after each.

    Args:
        place: an empty folder, which becomes the owner's.
        count: how many.
    """
    with _owner(place) as layout, dagster_instance(layout) as instance:
        begun, failing = datetime.now(UTC).replace(hour=2, minute=0), _failing(place)
        add_template(layout, parse_spec(SPEC), place)
        add_template(layout, parse_spec(BROKEN), place)
        for number in range(1, count + 1):
            with time_machine.travel(begun + timedelta(days=number), tick=True) as clock:
                today = failing[(number - 1) * FAILURES : number * FAILURES]
                pd.DataFrame({"row": today}).to_csv(place / "incoming" / f"{number}.csv", index=False)
                _tick(instance)
                _decide(layout, number)
                clock.shift(timedelta(hours=1))
                done = definitions.resolve_job_def("clean_up").execute_in_process(instance=instance)
                assert done.success
                yield _held(layout, instance, number)


@contextmanager
def _owner(place: Path) -> Iterator[Layout]:
    """The owner's folder, as the current one, with settings of its own."""
    (place / "incoming").mkdir(parents=True)
    rows(80, 1, flipped=True).to_csv(place / "train.csv", index=False)
    rows(4000, 2, flipped=False).to_csv(place / "test.csv", index=False)
    scratch, home, before = place / "tmp", place / "home", (os.getcwd(), dict(os.environ), gate.judge)
    scratch.mkdir()
    os.chdir(place)
    os.environ.update(REPAIR_HOME=str(home), TMPDIR=str(scratch), REPAIR_KEEP_DAYS=str(KEEP_DAYS))
    tempfile.tempdir, gate.judge = None, accept
    try:
        yield Layout(home)
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
        tempfile.tempdir, gate.judge = None, before[2]


def _failing(place: Path) -> Sequence[str]:
    """Test rows of the kind that the wrong labels make fail."""
    tests = pd.read_csv(place / "test.csv")
    return tests[(tests["scanner"] == "B") & (tests["label"] == "sick")]["row"].tolist()


def _tick(instance: dg.DagsterInstance) -> None:
    """The schedule's tick, and the runs that it asks for."""
    context = dg.build_schedule_context(instance, scheduled_execution_time=datetime.now(UTC))
    wanted = nightly(context)
    for request in wanted if isinstance(wanted, list) else []:
        definitions.resolve_job_def("repair").execute_in_process(
            partition_key=request.partition_key, instance=instance, tags=dict(request.tags), raise_on_error=False
        )


def _decide(layout: Layout, number: int) -> None:
    """What the owner does in the morning."""
    last = max(path.name for path in (layout.results / "cases").glob("case_id=wards-*")).removeprefix("case_id=")
    if number in PROMOTED:
        _repair("promote", "wards")
    if number in ROLLED_BACK:
        _repair("rollback", "wards")
    if number in PATCHED:
        _repair("patch", "apply", last)
        _repair("patch", "revert", last)


def _repair(*arguments: str) -> None:
    code = command_line.app(args=list(arguments), standalone_mode=False)
    assert not code, arguments


def _held(layout: Layout, instance: dg.DagsterInstance, number: int) -> Night:
    mlflow = layout.mlflow / "mlflow.db"
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Night(
        number,
        len(list(layout.results.glob("verdicts/*/verdicts.parquet"))),
        len(list(layout.results.glob("influence/*"))),
        _megabytes(layout.results),
        _megabytes(layout.mlflow),
        _megabytes(layout.dagster_home),
        ask(mlflow, "SELECT count(*) FROM runs")[0][0],
        instance.get_runs_count(),
        len(instance.get_dynamic_partitions(str(CASES.name))),
        len(list(scratch_folder().glob("*.lock"))) + len(list(layout.home.rglob("*.lock"))),
        round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6),
    )


def _megabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 2)


def main() -> None:
    """Run the nights and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=28)
    logging.disable(logging.WARNING)
    place = Path(tempfile.mkdtemp(prefix="nights-"))
    said = sys.stderr
    try:
        for night in nights(place, parser.parse_args().nights):
            row = asdict(night)
            if night.night == 1:
                print("| " + " | ".join(name.replace("_", " ") for name in row) + " |", file=said)
                print("| " + " | ".join("---" for _ in row) + " |", file=said)
            print("| " + " | ".join(str(value) for value in row.values()) + " |", file=said, flush=True)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
