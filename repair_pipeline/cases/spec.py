"""The spec of a case, its canonical hash and its names."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from repair_pipeline.cases.corruption import KINDS, CorruptionSpec
from repair_pipeline.cases.sources import (
    SOURCES,
    Adapted,
    DatasetSpec,
    FailuresSpec,
    KnownData,
    KnownModel,
    ModelSpec,
    Nightly,
    UserModel,
)
from repair_pipeline.cases.yaml_values import KEY, NOT_WRITTEN, Spellings
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate
from repair_pipeline.influence.causes import CausesRule
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.training.fit import Schedule
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.treatments import TREATMENTS

_strict = ConfigDict(extra="forbid")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Settings = dict[str, Any]
"""Departures from a method's defaults, by field name."""


_USUAL_METHODS = ("ewc", "ewc_paper", "loss", "margin", "random", "oracle")
_USUAL_TREATMENTS = ("base", "finetune", "ewc_deletion", "learn_guard", "reseed", "semi_oracle")
"""What a case runs that names none: the paper's method, its controls and the cheapest baselines."""


def _departures(name: str, method: Callable[..., object], settings: Settings) -> Settings:
    """The settings that differ from the method's defaults: to name a default is no departure."""
    try:
        made, default = method(**settings), method()
    except ValidationError as error:
        raise ValueError(f"{name}.{_first_line(error)}") from error
    return {key: getattr(made, key) for key in settings if getattr(made, key) != getattr(default, key)}


def _several(settings: Settings | tuple[Settings, ...]) -> tuple[Settings, ...]:
    return (settings,) if isinstance(settings, dict) else settings


def _canonical(
    name: str, treatment: Callable[..., object], settings: Settings | tuple[Settings, ...]
) -> Settings | tuple[Settings, ...]:
    """The departures of each setting; a list of one is that one."""
    departures = tuple(_departures(name, treatment, each) for each in _several(settings))
    if not departures:
        raise ValueError(f"{name} has an empty list of settings; give at least {{}}, its defaults")
    if repeated := [each for each in departures if departures.count(each) > 1]:
        raise ValueError(f"{name} has the setting {repeated[0]} more than once")
    return departures if len(departures) > 1 else departures[0]


def at_defaults(names: Iterable[str]) -> dict[str, Settings]:
    """Methods or treatments, each without departures."""
    return {name: {} for name in names}


@dataclass(frozen=True, config=_strict)
class ComputeSpec:
    """What it is computed with."""

    threads: PositiveInt = 1
    """Intra-op threads. The same count gives the same bits on the same machine, so it is part of the case."""


@dataclass(frozen=True, config=_strict)
class CaseSpec:
    """All that decides a case's numbers."""

    name: Annotated[str, Field(pattern=_NAME)]
    dataset: DatasetSpec
    seed: NonNegativeInt = 0
    model: ModelSpec = Field(default_factory=KnownModel)
    parameters: Adapted | None = None
    """Which parameters are adapted, of those that require a gradient; None: all."""
    likelihood: str | None = None
    """How the model's outputs are read; None: softmax."""
    corruption: CorruptionSpec | None = None
    failures: FailuresSpec | None = None
    """None: all of them."""
    training: Schedule = Field(default_factory=Schedule)
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    query_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    influence: dict[str, Settings] = Field(default_factory=lambda: at_defaults(_USUAL_METHODS))
    """Influence methods to run, each with departures from its defaults."""
    causes: CausesRule = Field(default_factory=lambda: CausesRule(positive=True))
    treat: tuple[str, ...] = ("ewc", "random")
    """Influence methods whose causes are treated; ``random`` is the control."""
    treatments: dict[str, Settings | tuple[Settings, ...]] = Field(
        default_factory=lambda: dict[str, Settings | tuple[Settings, ...]](at_defaults(_USUAL_TREATMENTS))
    )
    """Treatments to run, each with departures from its defaults, or with a list of them: one repaired model each."""
    gate: Gate | None = None
    """What a repair must hold to be accepted; None: a study, which accepts nothing."""
    compute: ComputeSpec = Field(default_factory=ComputeSpec)
    nightly: Nightly | None = None
    """Set: the case is a template as well."""
    template: str | None = None
    """The template that this is a night of, whose model it repairs."""
    patches: tuple[str, ...] | None = None
    """Cases whose data set patches are applied to the training rows as they are read."""
    folder: str | None = None
    """Where its relative paths start from and its modules are found; None: the current folder."""
    inputs: dict[str, str] | None = None
    """What its files and code hold, a digest for each key that names one; None: it was not looked at yet."""

    @field_validator("likelihood")
    @classmethod
    def _known_likelihood(cls, name: str | None) -> str | None:
        if name is not None:
            LIKELIHOODS.named(name)
        return None if name == "softmax" else name  # to name the default is no departure

    @field_validator("influence")
    @classmethod
    def _known_methods(cls, chosen: dict[str, Settings]) -> dict[str, Settings]:
        return {name: _departures(name, METHODS.named(name), settings) for name, settings in chosen.items()}

    @field_validator("treatments")
    @classmethod
    def _known_treatments(cls, chosen: dict[str, Settings | tuple[Settings, ...]]) -> dict[str, Any]:
        return {name: _canonical(name, TREATMENTS.named(name).treatment, settings) for name, settings in chosen.items()}

    @model_validator(mode="after")
    def _plants_what_it_counts(self) -> CaseSpec:
        if self.causes.top == "planted" and not self.plants:
            raise ValueError("causes.top is 'planted' and the corruption plants nothing; give causes={fraction: 0.15}")
        return self

    @model_validator(mode="after")
    def _can_be_repaired_by_night(self) -> CaseSpec:
        if self.nightly:
            if not isinstance(self.model, UserModel):
                raise ValueError(f"nightly repairs a model of yours, and model is {self.model.title!r}: give factory")
            if self.gate is None:
                raise ValueError("nightly needs a gate, or nobody judges what it makes: write gate: {}")
            if self.failures is not None:
                raise ValueError("nightly says which failures are repaired: leave failures out")
        return self

    @model_validator(mode="after")
    def _treats_what_it_runs(self) -> CaseSpec:
        if repeated := [name for name in self.treat if self.treat.count(name) > 1]:
            raise ValueError(f"treat names {repeated[0]!r} more than once")
        if unknown := [name for name in self.treat if name not in self.influence]:
            raise ValueError(f"treat names {unknown[0]!r}, which is not among influence: {', '.join(self.influence)}")
        for settings in self.treatment_settings("auto"):
            if unknown := [name for name in Auto(**settings).methods if name not in self.influence]:
                raise ValueError(
                    f"auto tries {unknown[0]!r}, which is not among influence: {', '.join(self.influence)}"
                )
        return self

    @property
    def model_name(self) -> str:
        """What its repaired model is registered as."""
        return self.template or self.name

    @property
    def tests(self) -> str:
        """Where its test rows are from. A study reads one data set for many models: there they are each name's own."""
        data = self.dataset
        if isinstance(data, KnownData):
            return f"{data.name}, {self.model_name}"
        return os.path.normpath(self.root / data.test) if isinstance(data, UserData) else data.torchvision

    @property
    def plants(self) -> bool:
        """Whether rows are corrupted that a method could be expected to find."""
        return self.corruption is not None and self.corruption.rate > 0

    @property
    def data_name(self) -> str:
        """What the data are called."""
        data = self.dataset
        if isinstance(data, UserData):
            return data.train
        return data.name if isinstance(data, KnownData) else data.torchvision

    def influence_method(self, name: str) -> InfluenceMethod:
        """The influence method ``name`` with the case's settings."""
        return METHODS[name](**self.influence[name])

    def treatment_settings(self, name: str) -> tuple[Settings, ...]:
        """Every setting that the treatment ``name`` is run with; none where the case does not name it."""
        return _several(self.treatments.get(name, ()))

    @property
    def resolved(self) -> dict[str, Any]:
        """Every field, defaults included, as plain values that YAML and JSON can hold."""
        return _SPEC.dump_python(self, mode="json")

    @property
    def root(self) -> Path:
        """The folder that its relative paths start from."""
        return Path(self.folder) if self.folder else Path.cwd()

    @property
    def _content(self) -> dict[str, Any]:
        """All that decides its numbers: the fields, with what files hold in the place of where they lie."""
        fields = {key: value for key, value in self.resolved.items() if key not in ("name", "nightly", "folder")}
        for place, name in (key.split(".") for key in self.inputs or () if key in FILES):
            if fields[place] is not None:
                fields[place] = {key: value for key, value in fields[place].items() if key != name}
        return fields

    @property
    def digest(self) -> str:
        """Eight hex digits of the canonical hash: of all fields but the name, and what a template watches."""
        return hash_of(self._content)[:8]

    @property
    def base_id(self) -> str:
        """Names what lies upstream of the failures, which cases that agree in these fields share."""
        content = self._content
        upstream = {key: content[key] for key in _UPSTREAM_OF_FAILURES}
        inputs = {key: value for key, value in (self.inputs or {}).items() if not key.startswith("failures.")}
        return hash_of({**upstream, "inputs": inputs or None})[:12]


FILES = ("dataset.train", "dataset.test", "model.weights", "failures.list", "failures.reported")
"""Keys that name the owner's files."""
CODE = ("dataset.transform", "model.factory")
"""Keys that name the owner's code."""
_UPSTREAM_OF_FAILURES = (
    "dataset",
    "seed",
    "model",
    "parameters",
    "likelihood",
    "corruption",
    "training",
    "validation_fraction",
    "compute",
    "patches",
)
_SPEC = TypeAdapter(CaseSpec)


def parse_spec(fields: object, spellings: Spellings = NOT_WRITTEN) -> CaseSpec:
    """A validated spec.

    Args:
        spellings: how values of ``fields`` are written, where they were read as YAML.

    Raises:
        InputError: a field is unknown, missing or out of range.
    """
    try:
        return _SPEC.validate_python(fields)
    except ValidationError as error:
        raise InputError(_first_line(error, spellings)) from error


def misfit_of(name: str, pattern: str = _NAME) -> str | None:
    """Why a name cannot be a case's, or does not fit another pattern of names; None where it does."""
    if re.fullmatch(pattern, name):
        return None
    if not re.match(r"[A-Za-z0-9]", name):
        return f"begins with {name[0]!r}" if name.strip() else "is empty"
    for character in name:
        if not re.fullmatch(pattern, f"a{character}"):
            return "has a blank" if character == " " else f"has {character!r}"
    return f"has {len(name)} characters"


def _first_line(error: ValidationError, spellings: Spellings = NOT_WRITTEN) -> str:
    """The first thing wrong, in one line: where, what, and the value received."""
    first = error.errors()[0]
    # Pydantic names the branch of a union and the place of a key; neither is a key of the case.
    branch = re.compile(rf"\[|^constrained-|^({'|'.join(KINDS)})$")
    keys = [str(part) for part in first["loc"] if not branch.search(str(part))]
    if len(keys) > 1 and keys[0] in ("dataset", "model", "failures") and keys[1] in SOURCES:
        del keys[1]
    where = ".".join(keys) or "the case"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unexpected_keyword_argument":
        alike = "".join(f"did you mean {name}? " for name in get_close_matches(keys[-1], _keys(), 1))
        return f"{where} is not a key of a case: {alike}docs/cases.md has the keys"
    if first["type"] == "missing":
        return f"{where} is missing: give a value"
    if first["type"] in ("string_type", "invalid_key"):
        if first["type"] == "invalid_key" or KEY in first["loc"]:  # true is the place 1 to pydantic, not the key
            where, path = ".".join(keys[:-1]) or "the case", ".".join([*keys[:-1], f"{first['input']}{KEY}"])
        else:
            path = where
        if spelling := spellings.get(path):
            return f"{where}: {spelling.advice}"
    if first["type"] == "string_pattern_mismatch" and (misfit := misfit_of(first["input"], first["ctx"]["pattern"])):
        dash = ", -" if misfit_of("a-", first["ctx"]["pattern"]) is None else ""
        return f"{where}: {first['input']!r} {misfit}: a name is a letter or digit, then letters, digits, ., _{dash}"
    shown = "" if isinstance(first["input"], (dict, CaseSpec)) else f" (got {first['input']!r})"
    return f"{where}: {what[0].lower()}{what[1:]}{shown}"


def _keys() -> set[str]:
    """Every key that a case file may hold somewhere."""
    schema = _SPEC.json_schema()
    return {key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", ())}


def hash_of(fields: dict[str, Any]) -> str:
    """64 hex digits of plain values, whatever the order of their keys.

    A key that is None says nothing: a case keeps its name when a later version knows one key more.
    """
    said = {key: value for key, value in fields.items() if value is not None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
