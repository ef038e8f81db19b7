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


_VARIABLES = (
    *("train", "test", "label", "id", "text", "transform", "classes", "factory", "torchvision", "transformers"),
    *("weights", "training", "list", "where"),
)


def template(name: str, **values: str | None) -> str:
    """A file of the package that is written into the user's folder."""
    return _TEMPLATES.get_template(name).render(values)


def write_case(file: Path, given: Mapping[str, str | None]) -> None:
    """Write a commented case file, asking on a terminal for required values that are missing.

    Args:
        file: the case file.
        given: values of the template's variables; absent or None where the user gave none.

    Raises:
        InputError: the file exists or its name does not end in .yaml, a path does not exist, or a required value is
            missing.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"the name of a case file ends in .yaml, and {file} does not: for example repair init {file.stem}.yaml"
        )
    if file.exists():
        raise InputError(f"{file} already exists: give another name, or edit the file")
    answers = {**dict.fromkeys(_VARIABLES), **given}
    answers["train"] = answers["train"] or _ask("Training data (.parquet, .csv, or a folder)", "--train")
    answers["test"] = answers["test"] or _ask("Labelled test data, in the same format", "--test")
    for path in filter(None, (answers["train"], answers["test"], answers["list"])):
        if not Path(path).exists():
            raise InputError(f"{path} does not exist: paths are relative to {Path.cwd()}")
    registered = (answers["weights"] or "").startswith("models:/")
    if not (answers["factory"] or answers["torchvision"] or answers["transformers"] or registered):
        model = _ask(
            "The function that makes your model (package.module:function), or a torchvision architecture", "--factory"
        )
        answers["factory" if ":" in model else "torchvision"] = model
    if answers["weights"] is None and sys.stdin.isatty():
        answers["weights"] = (
            typer.prompt("Trained weights (.safetensors or models:/...; empty: train first)", default="") or None
        )
    if answers["list"] and answers["where"]:
        raise InputError("--failures and --where both select the failures: give one of them")
    write_text(file, template("case.yaml.jinja", **answers))
    try:
        load_spec(str(file))
    except InputError:
        file.unlink()
        raise


def _ask(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise InputError(f"{option} is required, as there is no terminal to ask on: give it")
    return str(typer.prompt(question))
