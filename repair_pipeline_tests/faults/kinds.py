"""The kinds of faults, and what must be true after each."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cache

import numpy as np

from repair_pipeline.cli.open_case import open_case
from repair_pipeline.definitions import definitions
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.pipeline import case as cases
from repair_pipeline.pipeline import ledger
from repair_pipeline.storage.layout import Layout
from repair_pipeline_tests.faults.bench import RUN, Bench, Ended, Work, stores
from repair_pipeline_tests.faults.moments import Moments, kill, no_room, terminate

STEPS = (
    "corrupted_dataset",
    "base_model",
    "failure_partition",
    "fisher_diagonal",
    "influence_loss",
    "influence_random",
    "repaired_base",
    "repaired_retrain",
    "pairs",
    "gate_controls",
    "doubtful_tests",
    "evaluation",
    "report",
    "tracked_run",
    "candidate",
)
"""The steps of the tiny case that make files."""

Trial = Callable[[Bench, np.random.Generator, int], str | None]
"""Makes one fault; returns what was lost, None if nothing was. The number counts the trials of a kind."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    tries: int
    trial: Trial
    survived: str
    """What it means to survive."""
    like: str = "finished"
    """The state of an undisturbed home that what is left is compared with."""
    mounts: bool = False
    """Whether it mounts a disk, which only root may."""

    def lost(self, bench: Bench, rng: np.random.Generator, number: int) -> str | None:
        """Make one fault; returns what was lost, None if nothing was."""
        bench.know(self.like)
        return self.trial(bench, rng, number)


SAME = "the same command ends with the same results"


def ends_the_same(bench: Bench, arguments: Sequence[str] = RUN, like: str = "finished") -> str | None:
    """Run the command again without a fault, and compare with an undisturbed home."""
    again = bench.run(arguments)
    if again.code != 0:
        return f"the same command ends with {again.code}: {again.last}"
    return bench.differs(like)


def one_line(ended: Ended, codes: Sequence[int]) -> str | None:
    """What is wrong with how a command refused: it must print one line of an error, and no traceback."""
    if ended.code not in codes:
        return f"exit code {ended.code}: {ended.last}"
    if "Traceback" in ended.text or not ended.last.startswith("repair: "):
        return f"no clear line: {ended.last}"
    return None


def at_moment(
    bench: Bench, work: Work, rng: np.random.Generator, act: Callable[[], object], step: str | None = None
) -> Ended:
    """Do something, with a fault at a moment that is drawn."""
    of_step = bench.moments(work)
    count = of_step.get(step, 1) if step else sum(of_step.values())
    number = int(rng.integers(1, count + 1))
    return bench.run(work, Moments(bench.place, number, act, step).begin)


# Kills.


def killed_in_step(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    at_moment(bench, RUN, rng, kill, STEPS[number * 4 % len(STEPS)])  # a few of them are spread over the run
    return bench.unsound(running=True) or ends_the_same(bench)


def killed_in_registration(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    at_moment(bench, RUN, rng, kill, "candidate")
    return bench.unsound(running=True) or ends_the_same(bench)


def killed_any_time(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    pid = bench.start(RUN)
    time.sleep(float(rng.uniform(0.1, bench.seconds)))
    os.kill(pid, signal.SIGKILL)
    bench.ended(pid)
    return bench.unsound(running=True) or ends_the_same(bench)


def killed_twice(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    for step in sorted(rng.choice(len(STEPS), 3, replace=False)):
        at_moment(bench, RUN, rng, kill, STEPS[step])
    return bench.unsound(running=True) or ends_the_same(bench)


def killed_in_migration(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("fresh")
    at_moment(bench, stores, rng, kill)
    if (again := bench.run(stores)).code != 0:
        return f"the next use ends with {again.code}: {again.last}"
    return bench.unsound()


def killed_in_command(*arguments: str, before: str, after: str) -> Trial:
    """Kill a command that changes what ``before`` is to what ``after`` is."""

    def trial(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
        bench.restore(before)
        command = bench.named(arguments)
        at_moment(bench, command, rng, kill)
        again = bench.run(command)
        finished = again.code == 2 and bench.differs(after) is None  # it was done, and says so
        if again.code != 0 and not finished:
            return f"the same command ends with {again.code}: {again.last}"
        return bench.differs(after)

    return trial


def in_dagster(bench: Bench) -> None:
    """Run the case as Dagster's job does."""
    layout = Layout(bench.home)
    with dagster_instance(layout) as instance:
        [key] = register_cases(instance, layout, [open_case("wards.yaml", [], "cpu").spec])
        done = definitions.resolve_job_def("repair").execute_in_process(
            partition_key=key,
            instance=instance,
            raise_on_error=False,
        )
        assert done.success, [event.message for event in done.all_events if event.is_failure]


def killed_in_dagster(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    at_moment(bench, in_dagster, rng, kill)
    again = bench.run(in_dagster)
    if again.code != 0:
        return f"the same Dagster run ends with {again.code}: {again.last}"
    return ends_the_same(bench)


def terminated(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    ended = at_moment(bench, RUN, rng, terminate, STEPS[(number * 4 + 1) % len(STEPS)])
    if ended.code not in (0, 143):  # 0: it came after the last step
        return f"exit code {ended.code}: {ended.last}"
    return bench.unsound() or ends_the_same(bench)


# Many processes.


def one_case_at_once(fresh: bool) -> Trial:
    """Two, four and eight processes on one case."""

    def trial(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
        bench.restore("fresh" if fresh else "warm")
        ended = [bench.ended(pid, 600) for pid in [bench.start(RUN) for _ in range(2 ** (number % 3 + 1))]]
        wrong = [each for each in ended if each.code != 0]
        return f"{len(wrong)} fail: {wrong[0].last}" if wrong else bench.differs("finished")

    return trial


def several_cases_at_once(fresh: bool) -> Trial:
    """Two, four and eight processes, each on a case of its own; the first is the tiny one."""

    def trial(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
        bench.restore("fresh" if fresh else "warm")
        many = 2 ** (number % 3 + 1)
        ended = [bench.ended(pid, 600) for pid in [bench.start((*RUN, f"--set=seed={at}")) for at in range(many)]]
        wrong = [each for each in ended if each.code != 0]
        return f"{len(wrong)} fail: {wrong[0].last}" if wrong else bench.differs("finished", shared=True)

    return trial


# Disks.


@cache
def own_mounts() -> None:
    """Let this process have mounts of its own, which go with it however it ends."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


_NEW_MOUNTS = 0x20000  # CLONE_NEWNS of Linux


def mounted(bench: Bench, kilobytes: int) -> None:
    """Put the home on a disk of its own, of a size in KiB."""
    own_mounts()
    bench.home.mkdir(exist_ok=True)
    disk = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "repair-faults", str(bench.home)]
    subprocess.run(disk, check=True)


def remounted(bench: Bench, options: str) -> None:
    """Change the disk of the home."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(bench.home)], check=True)


SIZES = 12


def disk_full(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("fresh")
    mounted(bench, 32 + bench.kilobytes * (number * 5 % SIZES) // SIZES)  # a few of them are spread over the sizes
    ended = bench.run(RUN)
    wrong = one_line(ended, [2]) if ended.code else None
    left = bench.left_behind()
    remounted(bench, "size=64m")
    return wrong or (f"half written: {left[0]}" if left else None) or ends_the_same(bench)


def no_room_for_patch(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("finished")
    before, command = bench.owners(), ["patch", "apply", bench.case_id]
    ended = at_moment(bench, command, rng, no_room)
    wrong = one_line(ended, [2]) if ended.code else None
    if wrong is None and ended.code and bench.owners() != before:
        wrong = f"half patched: {ended.last}"
    return wrong or (ends_the_same(bench, command, "patched") if ended.code else bench.differs("patched"))


def read_only(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    state, command = (("fresh", RUN), ("warm", RUN), ("finished", ("promote", "wards")))[number % 3]
    bench.restore(state)
    kept = bench.place.with_name("moved")
    bench.home.mkdir(exist_ok=True)
    bench.home.rename(kept)
    mounted(bench, 65536)
    shutil.copytree(kept, bench.home, dirs_exist_ok=True)
    shutil.rmtree(kept)
    remounted(bench, "ro")
    wrong = one_line(bench.run(command), [2])
    remounted(bench, "rw")
    return wrong or ends_the_same(bench, command, "promoted" if "promote" in command else "finished")


# Clocks, files and servers.


class _Jumped(datetime):
    """A clock that is wrong."""

    by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.by


def clock_jumps(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    years = (10, -10)[number % 2]

    def jump() -> None:
        _Jumped.by = timedelta(days=365 * years)
        for module in (cases, ledger):
            module.datetime = _Jumped  # type: ignore[attr-defined]
        real = time.time
        time.time = lambda: real() + 365 * 86400 * years

    at_moment(bench, RUN, rng, jump, STEPS[number % len(STEPS)])
    for path in [*bench.home.rglob("*"), *bench.place.glob("*.csv")]:
        then = time.time() + float(rng.normal()) * 365 * 86400
        os.utime(path, (then, then))
    if (again := bench.run(RUN)).code or "everything is up to date" not in again.text:
        return f"other times of files make the case stale: {again.last}"
    return bench.differs("finished")


def data_vanish(bench: Bench, rng: np.random.Generator, number: int) -> str | None:
    bench.restore("warm")
    away = bench.place.parent / "away.csv"
    train = bench.place / ("train.csv", "test.csv")[number % 2]

    def vanish() -> None:
        if train.exists():
            os.rename(train, away)

    ended = at_moment(bench, RUN, rng, vanish, STEPS[(0, 0, 2, 5)[number % 4]])
    if away.exists():
        shutil.move(away, train)
    wrong = one_line(ended, [2]) if ended.code else None
    return wrong or ends_the_same(bench)


KINDS = (
    Kind("SIGKILL inside a step", 3 * len(STEPS), killed_in_step, SAME),
    Kind("SIGKILL between registry calls", 6, killed_in_registration, SAME),
    Kind("SIGKILL at any time", 6, killed_any_time, SAME),
    Kind("SIGKILL three times in one life", 3, killed_twice, SAME),
    Kind("SIGKILL in the first migration", 6, killed_in_migration, "the next use makes whole stores"),
    Kind(
        "SIGKILL in patch apply",
        6,
        killed_in_command("patch", "apply", "CASE", before="finished", after="patched"),
        "the same command ends with the patched data",
        "patched",
    ),
    Kind(
        "SIGKILL in patch revert",
        4,
        killed_in_command("patch", "revert", "CASE", before="patched", after="reverted"),
        "the same command ends with the original data",
        "reverted",
    ),
    Kind(
        "SIGKILL in promote",
        6,
        killed_in_command("promote", "wards", before="finished", after="promoted"),
        "the same command ends with the same versions and aliases",
        "promoted",
    ),
    Kind(
        "SIGKILL in rollback",
        6,
        killed_in_command("rollback", "wards", before="promoted", after="rolled back"),
        "the same command ends with the same versions and aliases",
        "rolled back",
    ),
    Kind("SIGKILL in a Dagster run", 4, killed_in_dagster, SAME),
    Kind("SIGTERM", 6, terminated, f"exit code 143, no open MLflow run; then {SAME}"),
    Kind("2, 4, 8 processes, one case, fresh home", 3, one_case_at_once(fresh=True), SAME),
    Kind("2, 4, 8 processes, one case, warm home", 3, one_case_at_once(fresh=False), SAME),
    Kind("2, 4, 8 processes, several cases, fresh home", 3, several_cases_at_once(fresh=True), SAME),
    Kind("2, 4, 8 processes, several cases, warm home", 3, several_cases_at_once(fresh=False), SAME),
    Kind(
        "disk full", SIZES, disk_full, f"one line, exit code 2, no partial file; with room again, {SAME}", mounts=True
    ),
    Kind(
        "no room for a patch",
        4,
        no_room_for_patch,
        "one line, exit code 2, data unchanged; then it is applied",
        "patched",
    ),
    Kind("read-only home", 3, read_only, f"one line, exit code 2; writable again, {SAME}", "promoted", mounts=True),
    Kind("clock jumps ten years", 4, clock_jumps, "nothing becomes stale; the same tables"),
    Kind("data vanish half way", 4, data_vanish, f"one line, exit code 2; with the data again, {SAME}"),
)
