"""The studies' cases. Each number cites App. C of the paper, or says "ours"."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.errors import InputError

STUDY_SEEDS = range(5)
"""Means and deviations are over 5 runs (Fig. 2, 3)."""

_PAIRS = ((1, 7), (6, 9), (3, 8))
"""Ours: the paper's Fig. 2a names 1 and 7; the others are the pairs it would call semantically similar."""

Fields = dict[str, Any]


def _digit_noise(rate: float) -> Fields:
    both_ways = [*_PAIRS, *((b, a) for a, b in _PAIRS)]
    return {"rate": rate, "confusion": {clean: {given: 1.0} for clean, given in sorted(both_ways)}}


def _label_noise(dataset: Fields, rate: float) -> Fields:
    # Ours: as many causes as were planted, so that removal is comparable between methods and with the semi-oracle.
    return {"dataset": dataset, "corruption": _digit_noise(rate), "causes": {"top": "planted"}}


_DIGITS = {"name": "digits", "train_size": 1000}  # ours
_MNIST = {"name": "mnist", "train_size": 3000}  # App. C: 6% of the training split
_MNIST_TARGETS = {"classes": [1, 7, 6, 9], "rate": 0.3}  # Sec. 4.1


def _target_classes(dataset: Fields, corruption: Fields, causes: Fields) -> Fields:
    # Sec. 4.1: the failures in the corrupted classes are what is repaired.
    failures = {"classes": corruption["classes"]}
    return {"dataset": dataset, "corruption": corruption, "failures": failures, "causes": causes}


def _input_noise() -> Fields:
    noise = {"kind": "input_noise", "noise": "salt_and_pepper", "level": 0.3}  # level ours
    return _target_classes(_MNIST, {**noise, **_MNIST_TARGETS}, causes={"top": 1000})  # Fig. 4


def _poison() -> Fields:
    noise = {"kind": "poison", "epsilon": 0.2}  # epsilon ours
    return _target_classes(_MNIST, {**noise, **_MNIST_TARGETS}, causes={"top": 1000})  # Fig. 4


def _imbalance() -> Fields:
    thinned = {"kind": "imbalance", "classes": [8], "keep": 0.05}  # ours: no experiment of the paper's
    return _target_classes(_MNIST, thinned, causes={"fraction": 0.15})


FAMILIES: Mapping[str, Callable[[], Fields]] = {
    "digits-label_noise": lambda: _label_noise(_DIGITS, rate=0.3),  # ours
    "mnist-label_noise": lambda: _label_noise(_MNIST, rate=0.3),  # rate ours: Fig. 2a is a picture
    "mnist-label_noise-hard": lambda: _label_noise(_MNIST, rate=0.45),  # ours: the model learns the noise
    "mnist-input_noise": _input_noise,
    "mnist-poison": _poison,
    "mnist-imbalance": _imbalance,
}
"""A preset is a family's name, ``-s`` and a seed."""


def preset(name: str) -> CaseSpec:
    """The preset ``name``.

    Raises:
        InputError: there is no such preset.
    """
    match = re.fullmatch(r"(.+)-s(0|[1-9]\d*)", name)
    if match is None or match[1] not in FAMILIES:
        raise InputError(
            f"there is no case {name!r}: give a preset ({', '.join(f'{family}-s0' for family in FAMILIES)}; "
            "any seed), the id of a case that was run, or a YAML file"
        )
    return parse_spec({"name": name, "seed": int(match[2]), **FAMILIES[match[1]]()})


def preset_names() -> list[str]:
    """Every preset of the studies' seeds."""
    return [f"{family}-s{seed}" for family in FAMILIES for seed in STUDY_SEEDS]


def case_id(spec: CaseSpec) -> str:
    """The preset's name where the spec equals that preset, else name + '-' + 8 hex digits of the canonical hash."""
    try:
        if preset(spec.name) == spec:
            return spec.name
    except InputError:
        pass
    return f"{spec.name}-{spec.digest}"
