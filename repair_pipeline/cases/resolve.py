"""Turns user input (a name, a file, ``--set`` options) into a spec."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.spec import CaseSpec, misfit_of, parse_spec
from repair_pipeline.cases.yaml_values import Spelling, Spellings, read_yaml
from repair_pipeline.errors import InputError


def load_spec(source: str) -> CaseSpec:
    """Load a preset or a case file.

    Args:
        source: a preset's name, or the path of a ``.yaml`` or ``.yml`` file. Its file name is the default case name.

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
        raise InputError(f"{source} is not YAML ({str(error).splitlines()[0]}): correct the file") from error
    if not isinstance(fields, dict):
        raise InputError(
            f"{source} holds {type(fields).__name__}, not keys and values: write a case as docs/cases.md shows"
        )
    if "name" not in fields and (misfit := misfit_of(path.stem)):
        raise InputError(
            f"a case is named after its file, but {path.stem!r} {misfit}: rename the file, or give the key name"
        )
    _require_literal_classes(spellings)
    return replace(parse_spec({"name": path.stem, **fields}, spellings), folder=str(path.absolute().parent))


def with_settings(spec: CaseSpec, settings: Sequence[str]) -> CaseSpec:
    """The spec after ``--set`` options.

    Args:
        spec: the spec to change.
        settings: each ``a.b=value``, with the value in YAML.

    Raises:
        InputError: a setting has no ``=``, or its key or value is not valid.
    """
    fields, spellings = spec.resolved, dict[str, Spelling]()
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InputError(f"--set {setting!r} is not KEY=VALUE: write for example --set corruption.rate=0.4")
        *outer, last = key.split(".")
        target: dict[str, Any] = fields
        for part in outer:
            inner = target.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"--set {setting!r}: {part} is {inner!r} and has no keys: set {part} itself")
            target = inner
        try:
            target[last], setting_spellings = read_yaml(value, key)
        except yaml.YAMLError as error:
            raise InputError(f"--set {setting!r}: {value!r} is not a YAML value") from error
        spellings |= setting_spellings
        if outer == ["causes"]:
            _require_one_rule(setting, last, value, fields["causes"])
    _require_literal_classes(spellings)
    return parse_spec(fields, spellings)


def _require_one_rule(setting: str, rule: str, value: str, causes: Mapping[str, Any]) -> None:
    """Refuse a rule for the causes beside the one that the case has."""
    others = [name for name, given in causes.items() if name != rule and given is not None]
    if others and causes[rule] is not None:
        raise InputError(
            f"--set {setting!r}: the case has causes.{others[0]}={causes[others[0]]} already, and only one rule can be "
            f"given: set the whole key, --set causes='{{{rule}: {value}}}'"
        )


def _require_literal_classes(spellings: Spellings) -> None:
    """Refuse class names that YAML reads as another number than is written, such as 007, 0x1F, 12:30 and 1_000."""
    for path, spelling in spellings.items():
        if path.startswith("dataset.classes.") and type(spelling.value) is int and str(spelling.value) != spelling.text:
            raise InputError(f"{path}: {spelling.advice}")
