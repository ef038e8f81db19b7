"""Make the faults, and print one table: ``python -m repair_pipeline_tests.faults [--write PAGE] [KIND ...]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from repair_pipeline_tests.docs.pages import put
from repair_pipeline_tests.faults.bench import Bench
from repair_pipeline_tests.faults.kinds import KINDS, Kind

_benches: dict[int, Bench] = {}
"""The bench of each worker, by its process."""


def tried(folder: Path, seed: int, name: str, number: int) -> str | None:
    """Make one fault of the kind of a name; returns what was lost, None if nothing was."""
    [kind] = (kind for kind in KINDS if kind.name == name)
    if (worker := os.getpid()) not in _benches:
        _benches[worker] = Bench(folder / str(worker))
    try:
        return kind.lost(_benches[worker], np.random.default_rng([seed, number, *name.encode()]), number)
    except Exception:
        return f"the harness fails: {traceback.format_exc()}"


def main() -> int:
    """Make the faults; the exit code is 1 if one of them lost something."""
    reader = argparse.ArgumentParser(prog="python -m repair_pipeline_tests.faults", description=__doc__)
    reader.add_argument("kinds", nargs="*", help="parts of the names of kinds; default: all")
    reader.add_argument("--seed", type=int, default=0, help="of the moments at which faults are made")
    reader.add_argument("--workers", type=int, default=2, help="processes that make faults at the same time")
    reader.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    reader.add_argument("--at-most", type=int, default=1000, metavar="N", help="faults of a kind; default: all")
    given = reader.parse_args()
    chosen = [
        replace(kind, tries=min(kind.tries, given.at_most))
        for kind in KINDS
        if (not given.kinds or any(part in kind.name for part in given.kinds)) and not (kind.mounts and os.geteuid())
    ]
    if os.geteuid():
        print("disk full and read-only home are left out: only root may mount a disk", file=sys.stderr)
    torch.set_num_threads(1)
    begun = time.monotonic()
    lost = defaultdict[str, list[str]](list)
    with tempfile.TemporaryDirectory(prefix="repair-faults-") as name:
        folder = Path(name)
        Bench(folder / "warm-up").warm_up()
        # Forked, so that what is imported need not be again.
        with ProcessPoolExecutor(given.workers, multiprocessing.get_context("fork")) as pool:
            trials = [(kind, number) for kind in chosen for number in range(kind.tries)]
            answers = [pool.submit(tried, folder, given.seed, kind.name, number) for kind, number in trials]
            for (kind, number), answer in zip(trials, answers, strict=True):
                if why := answer.result():
                    lost[kind.name].append(why)
                    print(f"LOST {kind.name} {number}: {why}", file=sys.stderr, flush=True)
                print(f"\r{kind.name} {number + 1}/{kind.tries}\033[K", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr)
    table = as_markdown(chosen, {kind.name: len(lost[kind.name]) for kind in chosen})
    minutes = (time.monotonic() - begun) / 60
    print(f"{table}\n{sum(kind.tries for kind in chosen)} faults in {minutes:.0f} minutes, seed {given.seed}")
    if given.write:
        put(table, given.write, "faults")
    return int(any(lost.values()))


def as_markdown(kinds: Sequence[Kind], lost: Mapping[str, int]) -> str:
    """The table, a row a kind."""
    rows = [("kind", "tried", "survived", "lost", "survived means"), ("---", "---:", "---:", "---:", "---")]
    for kind in kinds:
        counts = (kind.tries, kind.tries - lost[kind.name], lost[kind.name])
        rows.append((kind.name, *map(str, counts), kind.survived))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
