"""Specs of the corruptions that a case can plant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, NonNegativeInt, PositiveInt, Tag, field_validator
from pydantic.dataclasses import dataclass

_strict = ConfigDict(extra="forbid")


def _sorted_once(classes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(classes)))


Rate = Annotated[float, Field(ge=0, lt=1)]
"""The share of the rows, or of each class's rows, that is corrupted."""
Classes = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_sorted_once)]

Targeted = Mapping[int, set[int] | None]
"""For each class of which a set share is corrupted, the labels its rows get; None: any label."""


@dataclass(frozen=True, config=_strict)
class LabelNoiseSpec:
    """Class-dependent label noise; ``confusion[i][j]`` is the share of class i's wrong labels that are j."""

    rate: Rate
    confusion: dict[NonNegativeInt, dict[NonNegativeInt, Annotated[float, Field(gt=0, le=1)]]]
    kind: Literal["label_noise"] = "label_noise"

    @property
    def targeted(self) -> Targeted:
        return {clean: set(shares) for clean, shares in self.confusion.items()}

    @field_validator("confusion")
    @classmethod
    def _rows_are_shares(cls, confusion: dict[int, dict[int, float]]) -> dict[int, dict[int, float]]:
        for clean, shares in confusion.items():
            if abs(sum(shares.values()) - 1) > 1e-9:
                raise ValueError(f"the shares of class {clean} add up to {sum(shares.values()):g}, not 1")
            if clean in shares:
                raise ValueError(f"class {clean} is among its own wrong labels: remove it")
        return confusion


@dataclass(frozen=True, config=_strict)
class InputNoiseSpec:
    """Random noise in images of some classes.

    ``level`` is the share of pixels for salt and pepper, and the standard deviation for Gaussian noise.
    """

    rate: Rate
    classes: Classes
    noise: Literal["salt_and_pepper", "gaussian"]
    level: Annotated[float, Field(gt=0, le=1)]
    kind: Literal["input_noise"] = "input_noise"

    @property
    def targeted(self) -> Targeted:
        return {label: {label} for label in self.classes}


@dataclass(frozen=True, config=_strict)
class PoisonSpec:
    """Adversarial images made on separate victim models, labelled as their victim predicts."""

    rate: Rate
    classes: Classes
    epsilon: Annotated[float, Field(gt=0, le=1)]
    victims: PositiveInt = 2
    kind: Literal["poison"] = "poison"

    @property
    def targeted(self) -> Targeted:
        return dict.fromkeys(self.classes)


@dataclass(frozen=True, config=_strict)
class InstanceNoiseSpec:
    """Label noise that depends on the input: labels drawn from weak models, of all classes alike."""

    rate: Rate
    annotators: Annotated[int, Field(ge=2)] = 5
    kind: Literal["instance_noise"] = "instance_noise"

    @property
    def targeted(self) -> Targeted:
        return {}


@dataclass(frozen=True, config=_strict)
class ImbalanceSpec:
    """Removes rows of some classes; ``keep`` is the share that is left. Nothing is planted."""

    keep: Annotated[float, Field(gt=0, lt=1)]
    classes: Classes
    kind: Literal["imbalance"] = "imbalance"

    @property
    def rate(self) -> float:
        return 0.0

    @property
    def targeted(self) -> Targeted:
        return {}


def _kind(fields: Any) -> str:
    return fields.get("kind", "label_noise") if isinstance(fields, dict) else getattr(fields, "kind", "label_noise")


KINDS = ("label_noise", "input_noise", "poison", "instance_noise", "imbalance")
CorruptionSpec = Annotated[
    Annotated[LabelNoiseSpec, Tag("label_noise")]
    | Annotated[InputNoiseSpec, Tag("input_noise")]
    | Annotated[PoisonSpec, Tag("poison")]
    | Annotated[InstanceNoiseSpec, Tag("instance_noise")]
    | Annotated[ImbalanceSpec, Tag("imbalance")],
    Discriminator(_kind, "kind", f"unknown kind; give one of {', '.join(KINDS)}"),
]
