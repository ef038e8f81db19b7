"""From what a user types to a spec."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec, misfit_of, parse_spec
from repair_pipeline.cases.yaml_values import Spelling, Spellings, read_yaml
from repair_pipeline.errors import InputError


def load_spec(source: str) -> CaseSpec:
    """A preset by name, or a case file by its path (``.yaml`` or ``.yml``); a file's name is its case's default name.

    Raises:
        InputError: there is no such preset or file, it is not YAML, or it is not a valid case.
    """
    if not source.endswith((".yaml", ".yml")):
        return preset(source)
    path = Path(source)
    try:
        fields, spellings = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}): give the path of a case file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{source} is not YAML ({str(error).splitlines()[0]}): mend the file") from error
    if not isinstance(fields, dict):
        raise InputError(f"{source} holds {type(fields).__name__}, not keys and values: see docs/cases.md")
    if "name" not in fields and (misfit := misfit_of(path.stem)):
        raise InputError(f"the case is called as its file, and {path.stem!r} {misfit}: rename it, or give name:")
    _require_written_as_read(spellings)
    return replace(parse_spec({"name": path.stem, **fields}, spellings), folder=str(path.absolute().parent))


def with_settings(spec: CaseSpec, settings: Sequence[str]) -> CaseSpec:
    """The spec with every ``a.b=value`` of ``settings`` applied, values read as YAML.

    Raises:
        InputError: a setting has no ``=``, or its key or value is not valid.
    """
    fields, spellings = spec.resolved, dict[str, Spelling]()
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InputError(f"--set {setting!r} is not KEY=VALUE: write for example --set corruption.rate=0.4")
        *outer, last = key.split(".")
        at: dict[str, Any] = fields
        for part in outer:
            inside = at.setdefault(part, {})
            if not isinstance(inside, dict):
                raise InputError(f"--set {setting!r}: {part} holds the value {inside!r}, no keys: set {part} itself")
            at = inside
        try:
            at[last], written = read_yaml(value, key)
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting!r}: {value!r} is not a YAML value") from error
        spellings |= written
    _require_written_as_read(spellings)
    return parse_spec(fields, spellings)


def _require_written_as_read(spellings: Spellings) -> None:
    """Refuse a class that is a number to YAML, and another one than is written: 007, 0x1F, 12:30 and 1_000."""
    for path, spelling in spellings.items():
        if path.startswith("dataset.classes.") and type(spelling.value) is int and str(spelling.value) != spelling.text:
            raise InputError(f"{path}: {spelling.advice}")
