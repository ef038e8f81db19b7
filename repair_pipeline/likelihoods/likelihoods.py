"""The catalogue of likelihoods, by name."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.causal_lm import CausalLM
from repair_pipeline.likelihoods.gaussian import Gaussian
from repair_pipeline.likelihoods.multi_label import MultiLabel
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.likelihoods.student_t import StudentT
from repair_pipeline.likelihoods.token_classification import TokenClassification
from repair_pipeline.plugins import Catalogue

_BUILTIN = {
    "softmax": SOFTMAX,
}
LIKELIHOODS = Catalogue("likelihood", "repair_pipeline.likelihoods", Likelihood, _BUILTIN)
"""A plugin package adds likelihoods by entry points of this group, each naming a ``Likelihood``."""
register_likelihood = LIKELIHOODS.register

WITH_SETTINGS: Mapping[str, Callable[..., Likelihood]] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "multi_label": MultiLabel,
    "causal_lm": CausalLM,
    "token_classification": TokenClassification,
}
"""Likelihoods that have settings, and are given as a name with these; alone if none is required."""

Given = str | Mapping[str, Mapping[str, Any]] | None
"""How a likelihood is written: its name, or ``{name: {setting: value}}``; None: softmax."""


def likelihood(given: Given) -> Likelihood:
    """The likelihood that is written so.

    Raises:
        InputError: there is none, or a setting is missing, unknown or out of range.
    """
    if given is None:
        return SOFTMAX
    if isinstance(given, str):
        if given in WITH_SETTINGS:
            if not _required(given):
                return WITH_SETTINGS[given]()
            raise InputError(
                f"{given} needs to know from which error on a row is a failure, in the label's unit: write "
                f"{{{given}: {{tolerance: …}}}}"
            )
        return LIKELIHOODS.named(given)
    if len(given) != 1:
        raise InputError(f"{len(given)} likelihoods are named ({', '.join(map(str, given))}): name one")
    ((name, settings),) = given.items()
    if name not in WITH_SETTINGS:
        LIKELIHOODS.named(name)
        raise InputError(f"{name} has no settings: write its name alone")
    try:
        return WITH_SETTINGS[name](**(settings or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key, problem = ".".join(map(str, first["loc"])), first["msg"][0].lower() + first["msg"][1:]
        if first["type"] == "missing":
            problem = "missing: give the largest error of a row that is right, in the label's unit"
        elif first["type"] == "unexpected_keyword_argument":
            known = (each.name for each in dataclasses.fields(WITH_SETTINGS[name]))  # type: ignore[arg-type]
            problem = f"no setting of {name}: it has {', '.join(known)}"
        raise InputError(f"{name}.{key}: {problem}") from error


def canonical(given: Any) -> Given:
    """A likelihood as it is written, in the one way that ids are made from: without settings at their defaults.

    Raises:
        InputError: as ``likelihood``.
    """
    if not isinstance(given, str | Mapping | None):
        raise InputError(f"a likelihood is a name, or a name with settings, not {given!r}")
    made = likelihood(given)
    if not isinstance(given, Mapping):
        return None if given == "softmax" else given  # naming the default must not change the hash
    ((name, settings),) = given.items()
    fields = {each.name: each for each in dataclasses.fields(made)}  # type: ignore[arg-type]  # those with settings are
    other = {key: getattr(made, key) for key in settings or () if getattr(made, key) != fields[key].default}
    return {name: other} if other else name


def _required(name: str) -> bool:
    """Whether the likelihood has a setting without a default."""
    return any(each.default is dataclasses.MISSING for each in dataclasses.fields(WITH_SETTINGS[name]))  # type: ignore[arg-type]
