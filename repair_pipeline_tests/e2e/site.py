"""A case that is made, others that are registered, and the servers that show them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.storage.layout import Layout
from repair_pipeline_tests.ports import free_port

PRESET = "digits-label_noise"
SEEDS = "each-seed"
_CHEAP = {
    "dataset": {"name": "digits", "train_size": 600},
    "training": {"max_epochs": 20},
    "corruption": {"rate": 0.3, "confusion": {1: {7: 1.0}, 7: {1: 1.0}, 3: {8: 1.0}, 8: {3: 1.0}}},
    "causes": {"top": "planted"},
    "influence": {"ewc": {}, "random": {}},
    "treatments": {"base": {}, "finetune": {}},
}


@dataclass(frozen=True)
class Site:
    """The pages a user is told of, and the cases on them."""

    layout: Layout
    dagster: str
    mlflow: str
    by_shell: str
    """The case that ``repair run`` has made."""
    by_page: str
    """The case that is registered, for the page to launch."""
    seeds: tuple[str, ...]
    """Cases that differ in their seed, registered for the page to backfill."""


@contextmanager
def serving(home: Path, whole: bool) -> Iterator[Site]:
    """``repair ui`` over a home with cases, the presets themselves or cheap ones; leaves no process behind."""
    layout, environment = Layout(home), {**os.environ, "REPAIR_HOME": str(home)}
    ports = [f"--{name}-port={free_port()}" for name in ("dagster", "mlflow")]
    with started([*_REPAIR, "ui", *ports], environment) as ui:
        made, launched = (_spec(seed, whole) for seed in (0, 1))
        case_file = home / f"{made.name}.yaml"
        case_file.write_text(yaml.safe_dump(_fields(0)))
        source = made.name if whole else str(case_file)
        subprocess.run([*_REPAIR, "run", source], env=environment, check=True, stdout=subprocess.DEVNULL)
        told = dict(pages(ui))
        with dagster_instance(layout) as instance:
            by_shell, by_page = register_cases(instance, layout, [made, launched])
            seeds = register_cases(instance, layout, [parse_spec(_fields(seed, SEEDS)) for seed in (0, 1)])
        yield Site(layout, told["Dagster"], told["MLflow"], by_shell, by_page, tuple(seeds))
    assert processes_of(home) == []


_REPAIR = [sys.executable, "-m", "repair_pipeline.cli.main"]


@contextmanager
def started(
    command: list[str], environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command with a pipe for what it prints; Ctrl-C ends it."""
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def pages(ui: subprocess.Popen[str]) -> Iterator[tuple[str, str]]:
    """The name and address of each page that ``repair ui`` tells its user of, once both can be opened."""
    for line in ui.stdout:
        if " http" in line:
            name, address = line.split()
            yield name, address
        if line.startswith("Ctrl-C"):
            return
    raise AssertionError(f"repair ui has ended with {ui.wait()}")


def _spec(seed: int, whole: bool) -> CaseSpec:
    return preset(f"{PRESET}-s{seed}") if whole else parse_spec(_fields(seed))


def _fields(seed: int, name: str = "quick") -> dict[str, object]:
    return {"name": f"{name}-s{seed}", "seed": seed, **_CHEAP}


def processes_of(home: Path) -> list[str]:
    """The commands of the processes that work in a home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and f"={home}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found
