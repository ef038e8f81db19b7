"""From what a user types to a spec."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec, parse_spec
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
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}): give the path of a case file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{source} is not YAML ({str(error).splitlines()[0]}): mend the file") from error
    if not isinstance(fields, dict):
        raise InputError(f"{source} holds {type(fields).__name__}, not keys and values: see docs/cases.md")
    return replace(parse_spec({"name": path.stem, **fields}), folder=str(path.absolute().parent))


def with_settings(spec: CaseSpec, settings: Sequence[str]) -> CaseSpec:
    """The spec with every ``a.b=value`` of ``settings`` applied, values read as YAML.

    Raises:
        InputError: a setting has no ``=``, or its key or value is not valid.
    """
    fields = spec.resolved
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
            at[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting!r}: {value!r} is not a YAML value") from error
    return parse_spec(fields)
