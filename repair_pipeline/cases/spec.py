"""The spec of a case, with its validation, canonical hash and ids."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
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
    ComputeSpec,
    DatasetSpec,
    FailuresSpec,
    KnownData,
    KnownModel,
    LeaveOut,
    ModelSpec,
    Nightly,
    PatchSpec,
    TrainingSpec,
    UserModel,
)
from repair_pipeline.cases.tasks import require_fit
from repair_pipeline.cases.yaml_values import KEY, NO_SPELLINGS, Spellings
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.likelihoods.likelihoods import canonical, likelihood
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.problem.calibration import FALSE_SHARE
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.training.fit import Schedule
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.treatments import TREATMENTS

_strict = ConfigDict(extra="forbid")
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Settings = dict[str, Any]
"""Settings that differ from a method's defaults, by field name."""


_DEFAULT_METHODS = ("ewc", "ewc_paper", "loss", "margin", "random", "oracle")
_DEFAULT_TREATMENTS = ("base", "finetune", "ewc_deletion", "learn_guard", "reseed", "semi_oracle")
"""What a case runs if it names none: the paper's method, its controls and the cheapest baselines."""


def _non_defaults(name: str, method: Callable[..., object], settings: Settings) -> Settings:
    """The settings whose values differ from the method's defaults."""
    try:
        configured, default = method(**settings), method()
    except ValidationError as error:
        raise ValueError(f"{name}.{_first_line(error)}") from error
    return {key: getattr(configured, key) for key in settings if getattr(configured, key) != getattr(default, key)}


def _as_tuple(settings: Settings | tuple[Settings, ...]) -> tuple[Settings, ...]:
    return (settings,) if isinstance(settings, dict) else settings


def _canonical(
    name: str, treatment: Callable[..., object], settings: Settings | tuple[Settings, ...]
) -> Settings | tuple[Settings, ...]:
    """The non-default settings of each variant; a list of one becomes that one."""
    variants = tuple(_non_defaults(name, treatment, each) for each in _as_tuple(settings))
    if not variants:
        raise ValueError(f"{name} has an empty list of settings; give at least {{}}, which means its defaults")
    if repeated := [each for each in variants if variants.count(each) > 1]:
        raise ValueError(f"{name} has the setting {repeated[0]} more than once")
    return variants if len(variants) > 1 else variants[0]


def at_defaults(names: Iterable[str]) -> dict[str, Settings]:
    """Methods or treatments by name, all at their defaults."""
    return {name: {} for name in names}


@dataclass(frozen=True, config=_strict)
class CaseSpec:
    """Everything that determines the numbers of a case."""

    name: Annotated[str, Field(pattern=_NAME)]
    dataset: DatasetSpec
    seed: NonNegativeInt = 0
    model: ModelSpec = Field(default_factory=KnownModel)
    parameters: Adapted | None = None
    """The parameters to adapt, among those that require a gradient; None: all of these."""
    likelihood: Annotated[str | dict[str, Settings] | None, BeforeValidator(canonical)] = None
    """What the task is: the likelihood p(z|θ) of the model's outputs, by name or with its settings; None: softmax."""
    corruption: CorruptionSpec | None = None
    failures: FailuresSpec | None = None
    """Which failures to repair; None: all."""
    training: TrainingSpec = Field(default_factory=Schedule)
    validation_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    query_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    influence: dict[str, Settings] = Field(default_factory=lambda: at_defaults(_DEFAULT_METHODS))
    """Influence methods to run, each with its non-default settings."""
    causes: CausesRule = Field(default_factory=lambda: CausesRule(fdr=FALSE_SHARE))
    treat: tuple[str, ...] = ("ewc", "random")
    """Influence methods whose causes are removed by the treatments; ``random`` is the control."""
    treatments: dict[str, Settings | tuple[Settings, ...]] = Field(
        default_factory=lambda: dict[str, Settings | tuple[Settings, ...]](at_defaults(_DEFAULT_TREATMENTS))
    )
    """Treatments to run, each with its non-default settings, or with a list of these that gives one model each."""
    gate: Gate | None = None
    """What a repair must show to be accepted; None: a study, in which nothing is accepted."""
    patch: PatchSpec | None = None
    """How the data patch is judged; None: it is not."""
    leave_out: LeaveOut | None = None
    """Reasons in ``doubtful_tests`` for which rows are left out when the gate judges; None: no row is."""
    compute: ComputeSpec = Field(default_factory=ComputeSpec)
    nightly: Nightly | None = None
    """If set, the case is also a template for nightly runs."""
    template: str | None = None
    """The template whose nightly run created this case, and whose model the case repairs."""
    patches: tuple[str, ...] | None = None
    """Cases whose data set patches are applied to the training rows when they are read."""
    folder: str | None = None
    """The folder for relative paths and for importing modules; None: the current folder."""
    inputs: dict[str, str] | None = None
    """Content digests of the user's files and code, by the key that names each; None: not computed yet."""

    @model_validator(mode="after")
    def _fits_its_task(self) -> CaseSpec:
        require_fit(self)
        return self

    @field_validator("influence")
    @classmethod
    def _known_methods(cls, chosen: dict[str, Settings]) -> dict[str, Settings]:
        return {name: _non_defaults(name, METHODS.named(name), settings) for name, settings in chosen.items()}

    @field_validator("treatments")
    @classmethod
    def _known_treatments(cls, chosen: dict[str, Settings | tuple[Settings, ...]]) -> dict[str, Any]:
        return {name: _canonical(name, TREATMENTS.named(name).treatment, settings) for name, settings in chosen.items()}

    @model_validator(mode="after")
    def _can_count_planted_rows(self) -> CaseSpec:
        if self.causes.top == "planted" and not self.plants:
            raise ValueError("causes.top is 'planted', but the corruption plants nothing; give causes={fraction: 0.15}")
        return self

    @model_validator(mode="after")
    def _has_the_gate_that_it_needs(self) -> CaseSpec:
        if self.patch and self.gate is None:
            raise ValueError("patch is given, but a patch is made only where a gate judges the repair: write gate: {}")
        if self.leave_out and self.gate is None:
            raise ValueError("leave_out is given, but only a gate judges on test rows: write gate: {}")
        return self

    @model_validator(mode="after")
    def _fits_nightly_runs(self) -> CaseSpec:
        if self.nightly:
            if not isinstance(self.model, UserModel):
                raise ValueError(
                    f"nightly repairs a model of your own, but model is {self.model.title!r}: give factory"
                )
            if self.gate is None:
                raise ValueError("nightly needs a gate to judge its repairs: write gate: {}")
            if self.failures is not None:
                raise ValueError("nightly already determines which failures are repaired: leave failures out")
        return self

    @model_validator(mode="after")
    def _treats_methods_it_runs(self) -> CaseSpec:
        if repeated := [name for name in self.treat if self.treat.count(name) > 1]:
            raise ValueError(f"treat names {repeated[0]!r} more than once")
        if unknown := [name for name in self.treat if name not in self.influence]:
            raise ValueError(
                f"treat names {unknown[0]!r}, which is not in influence ({', '.join(self.influence)}): add it there"
            )
        for settings in self.treatment_settings("auto"):
            if unknown := [name for name in Auto(**settings).methods if name not in self.influence]:
                raise ValueError(
                    f"auto tries {unknown[0]!r}, which is not in influence ({', '.join(self.influence)}): add it there"
                )
        return self

    @property
    def task(self) -> Likelihood:
        """What the case's task is, before anything is learnt of it from a model."""
        return likelihood(self.likelihood)

    @property
    def model_name(self) -> str:
        """The name under which the repaired model is registered."""
        return self.template or self.name

    @property
    def tests(self) -> str:
        """Identifies the test rows, so that cases on the same rows share a record of holdout reads.

        The studies use one data set for many models, so there the name of the model is part of it.
        """
        data = self.dataset
        if isinstance(data, KnownData):
            return f"{data.name}, {self.model_name}"
        return os.path.normpath(self.root / data.test) if isinstance(data, UserData) else data.torchvision

    @property
    def plants(self) -> bool:
        """Whether rows are corrupted that a method should find."""
        return self.corruption is not None and self.corruption.rate > 0

    @property
    def data_name(self) -> str:
        """Name of the training data: the user's file, or the data set."""
        data = self.dataset
        if isinstance(data, UserData):
            return data.train
        return data.name if isinstance(data, KnownData) else data.torchvision

    @property
    def unknown_recipe(self) -> bool:
        """Whether the model comes trained, and the case does not say how."""
        trained = isinstance(self.model, UserModel) and self.model.weights is not None
        return trained and isinstance(self.training, Schedule)

    @property
    def cross_fits(self) -> bool:
        """Whether models are trained without a part of the rows, to predict these."""
        return "cross_fit" in self.influence or any(TREATMENTS[name].cross_fits for name in self.treatments)

    @property
    def calibrated(self) -> frozenset[str]:
        """The influence methods whose scores are calibrated: those that a rule counts by their P(harmful)."""
        if not (self.causes.calibrates or any(TREATMENTS[name].causes for name in self.treatments)):
            return frozenset()
        searched = {method for settings in self.treatment_settings("auto") for method in Auto(**settings).methods}
        return frozenset(
            name for name in searched.union(self.treat) if METHODS[name].role not in ("control", "reference")
        )

    def influence_method(self, name: str) -> InfluenceMethod:
        """The influence method ``name`` with the case's settings."""
        return METHODS[name](**self.influence[name])

    def treatment_settings(self, name: str) -> tuple[Settings, ...]:
        """The settings of each variant of the treatment ``name``; empty if the case does not name it."""
        return _as_tuple(self.treatments.get(name, ()))

    @property
    def resolved(self) -> dict[str, Any]:
        """All fields, including defaults, as plain values for YAML and JSON."""
        return _SPEC.dump_python(self, mode="json")

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        return Path(self.folder) if self.folder else Path.cwd()

    @property
    def _content(self) -> dict[str, Any]:
        """The fields that determine the numbers, with content digests of files instead of their paths."""
        fields = {key: value for key, value in self.resolved.items() if key not in ("name", "nightly", "folder")}
        for section, name in (key.split(".") for key in self.inputs or () if key in FILES):
            if fields[section] is not None:
                fields[section] = {key: value for key, value in fields[section].items() if key != name}
        return fields

    @property
    def digest(self) -> str:
        """Eight hex digits of the canonical hash: of all fields except the name, ``nightly`` and ``folder``."""
        return hash_of(self._content)[:8]

    @property
    def base_id(self) -> str:
        """Id of everything upstream of the failures. Cases that agree in these fields share it."""
        content = self._content
        upstream = {key: content[key] for key in _UPSTREAM_OF_FAILURES}
        inputs = {key: value for key, value in (self.inputs or {}).items() if not key.startswith("failures.")}
        return hash_of({**upstream, "inputs": inputs or None})[:12]


FILES = (
    *("dataset.train", "dataset.test", "dataset.tokenizer", "model.weights", "model.transformers"),
    *("failures.list", "failures.reported"),
)
"""Keys that name the user's files."""
CODE = ("dataset.transform", "model.factory", "training.function", "training.augment")
"""Keys that name the user's code."""
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


def parse_spec(fields: object, spellings: Spellings = NO_SPELLINGS) -> CaseSpec:
    """A validated spec.

    Args:
        fields: the keys and values of a case.
        spellings: how the values are written, if they were read from YAML; for messages.

    Raises:
        InputError: a field is unknown, missing or out of range.
    """
    try:
        return _SPEC.validate_python(fields)
    except ValidationError as error:
        raise InputError(_first_line(error, spellings)) from error


def misfit_of(name: str, pattern: str = _NAME) -> str | None:
    """Why a name does not match a pattern, as the end of a sentence; None if it matches.

    Args:
        name: the name to check.
        pattern: a regular expression of letters, digits, ``.``, ``_`` and perhaps ``-``; by default that of case names.
    """
    if re.fullmatch(pattern, name):
        return None
    if not re.match(r"[A-Za-z0-9]", name):
        return f"begins with {name[0]!r}" if name.strip() else "is empty"
    for character in name:
        if not re.fullmatch(pattern, f"a{character}"):
            return "has a space" if character == " " else f"has {character!r}"
    return f"has {len(name)} characters"


def _first_line(error: ValidationError, spellings: Spellings = NO_SPELLINGS) -> str:
    """The first error as one line: the key, what is wrong, and the value received."""
    first = error.errors()[0]
    # Pydantic's location includes the tags of unions and a mark for keys, which are no keys of the case.
    branch = re.compile(rf"\[|^constrained-|^({'|'.join(KINDS)})$")
    keys = [str(part) for part in first["loc"] if not branch.search(str(part))] or [*map(str, first["loc"][-1:])]
    if len(keys) > 1 and keys[0] in ("dataset", "model", "failures", "training") and keys[1] in SOURCES:
        del keys[1]
    where = ".".join(keys) or "the case"
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "unexpected_keyword_argument":
        if len(keys) > 1 and keys[-1] in _keys():
            return f"{where} does not go with the other keys of {keys[0]}: docs/cases.md lists the keys that do"
        suggestion = "".join(f"did you mean {name}? " for name in get_close_matches(keys[-1], _keys(), 1))
        return f"{where} is not a key of a case: {suggestion}docs/cases.md lists the keys"
    if first["type"] == "missing":
        return f"{where} is missing: give a value"
    if first["type"] in ("string_type", "invalid_key", "invalid-json-value"):
        if (
            first["type"] == "invalid_key" or KEY in first["loc"]
        ):  # pydantic's location has the position 1 for the key true
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


@cache
def _keys() -> frozenset[str]:
    """All keys that may occur anywhere in a case file."""
    schema = _SPEC.json_schema()
    return frozenset(key for part in (schema, *schema["$defs"].values()) for key in part.get("properties", ()))


def hash_of(fields: dict[str, Any]) -> str:
    """64 hex digits of the SHA-256 of plain values, independent of the order of their keys.

    Keys with the value None are left out, so that a case keeps its id when a later version adds a key.
    """
    given = {key: value for key, value in fields.items() if value is not None}
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
