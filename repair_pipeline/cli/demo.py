"""``repair demo``: the case of an owner, on real handwritten digits."""

from __future__ import annotations

import csv
import runpy
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import typer

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.init import template, write_case
from repair_pipeline.cli.open_case import open_case
from repair_pipeline.cli.progress import StepBars
from repair_pipeline.cli.run import run_opened
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.storage.files import read_parquet, write_text

CASE = "demo.yaml"
_CODE = {"my_model.py": "demo_model.py.jinja", "prepare.py": "demo_prepare.py.jinja"}
_FILES = {
    "my_model.py": "the network, as a function",
    "prepare.py": "made the files below, once; change it as you like",
    "train.parquet": "900 real digits; annotator B often took 1 for 7, 4 for 9, 3 for 8",
    "test.parquet": "897 other digits with their right labels",
    "model.safetensors": "the network that was trained on train.parquet",
    CASE: "the case: which data, which model, what a repair must show",
}
_TRUTH = "truth.csv"
_RECIPE = "{epochs: 200, batch_size: 900, optimiser: adam, learning_rate: 0.01}"
"""As ``prepare.py`` trains: every step on all rows."""


def show(folder: Path) -> None:
    """Write an owner's files into a folder, unless they are there, and run the case, as ``repair run`` does.

    Raises:
        InputError: the folder has other files.
    """
    console, case_file = plain_console(), folder / CASE
    if not case_file.exists():
        prepare(folder)
    for name, what in _FILES.items():
        console.print(f"{folder / name!s:<24} {what}", soft_wrap=True)
    console.print(f"\n$ repair run {case_file}", soft_wrap=True)
    case = open_case(str(case_file), [], "auto")
    code = run_opened(case, False, console, StepBars(console))
    if case.layout.table("patch", case.id).exists():
        console.print(_found(case, folder), soft_wrap=True)
    raise typer.Exit(code)


def prepare(folder: Path) -> None:
    """Write the files of an owner: code, data, weights, and a case file as ``repair init`` writes it.

    Raises:
        InputError: the folder has other files, which could be overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if others := sorted(path.name for path in folder.iterdir() if path.name not in {*_FILES, _TRUTH}):
        raise InputError(
            f"{folder} has other files, such as {others[0]}: give a folder that is empty or does not exist"
        )
    for name, source in _CODE.items():
        write_text(folder / name, template(source))
    with chdir(folder), _importable(folder):
        runpy.run_path("prepare.py")
        write_case(
            Path(CASE),
            {
                **{"train": "train.parquet", "test": "test.parquet", "factory": "my_model:net"},
                **{"weights": "model.safetensors", "label": "label", "id": "row", "training": _RECIPE},
            },
        )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a script import the modules beside it, and forget them afterwards: another folder may have others."""
    sys.path.insert(0, str(Path.cwd()))
    before = set(sys.modules)
    try:
        yield
    finally:
        sys.path.pop(0)
        for name in set(sys.modules) - before:
            if (folder / f"{name}.py").exists():
                del sys.modules[name]


def _found(case: Case, folder: Path) -> str:
    """How many rows of the patch are wrong, by the file that only the demo has."""
    with (folder / _TRUTH).open(encoding="utf-8") as file:
        truth = {row["row"]: row["label"] for row in csv.DictReader(file)}
    patch = read_parquet(case.layout.table("patch", case.id))[0].to_pylist()
    wrong = sum(row["label"] != truth[row["example_id"]] for row in patch)
    return (
        f"truth    {wrong} of the {len(patch)} rows in the patch have a wrong label, by {folder / _TRUTH}, which the "
        "repair did not read"
    )
