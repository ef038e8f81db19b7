"""``repair init``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import typer
from jinja2 import Environment, PackageLoader, StrictUndefined

from repair_pipeline.cases.resolve import load_spec
from repair_pipeline.errors import InputError
from repair_pipeline.storage.files import write_text

_TEMPLATES = Environment(
    loader=PackageLoader("repair_pipeline.cli", "."),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters["quoted"] = json.dumps  # a JSON string is a YAML string


def write_case(file: Path, given: Mapping[str, str | None]) -> None:
    """Write a commented case file, asking on a terminal for what is not given.

    Raises:
        InputError: the file is there already or is not YAML by its name, or something that is needed is not given.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(f"{file} is not called .yaml: write for example repair init {file.stem}.yaml")
    if file.exists():
        raise InputError(f"{file} is there already: give another name, or edit it")
    answers = dict(given)
    answers["train"] = answers["train"] or _asked("Training data (.parquet, .csv, or a folder)", "--train")
    answers["test"] = answers["test"] or _asked("Labelled test data, of the same kind", "--test")
    for path in filter(None, (answers["train"], answers["test"], answers["list"])):
        if not Path(path).exists():
            raise InputError(f"{path} does not exist: give a path from {Path.cwd()}")
    registered = (answers["weights"] or "").startswith("models:/")
    if not (answers["factory"] or answers["torchvision"] or registered):
        said = _asked(
            "The function that makes your model (package.module:function), or torchvision's name", "--factory"
        )
        answers["factory" if ":" in said else "torchvision"] = said
    if answers["weights"] is None and sys.stdin.isatty():
        answers["weights"] = (
            typer.prompt("Trained weights (.safetensors or models:/...; empty: train it)", default="") or None
        )
    if answers["list"] and answers["where"]:
        raise InputError("both --failures and --where say which failures are meant: give one of them")
    write_text(file, _TEMPLATES.get_template("case.yaml.jinja").render(answers))
    try:
        load_spec(str(file))
    except InputError:
        file.unlink()
        raise
    typer.echo(f"{file} is written; next: repair check {file}")


def _asked(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise InputError(f"{option} is not given and there is no terminal to ask on: give it")
    return str(typer.prompt(question))
