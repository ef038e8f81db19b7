"""Where a case's examples, model and failures come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from repair_pipeline.cases.corruption import Classes
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.datasets.user_data import TorchvisionData, UserData
from repair_pipeline.models.user_model import Adapted
from repair_pipeline.types import ALL_FAILURES

_strict = ConfigDict(extra="forbid")


__all__ = [
    "SOURCES",
    "Adapted",
    "DatasetSpec",
    "FailuresSpec",
    "KnownData",
    "KnownModel",
    "ModelSpec",
    "Nightly",
    "UserModel",
]


@dataclass(frozen=True, config=_strict)
class KnownData:
    """A data set of the catalogue."""

    name: str
    train_size: PositiveInt

    @field_validator("name")
    @classmethod
    def _in_the_catalogue(cls, name: str) -> str:
        DATASETS.named(name)
        return name


@dataclass(frozen=True, config=_strict)
class KnownModel:
    """An architecture of the studies."""

    name: Literal["cnn", "cnn8", "resnet18", "resnet50"] = "cnn"

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name


@dataclass(frozen=True, config=_strict)
class UserModel:
    """Somebody's own classifier. Without weights it is trained as a model of the studies is."""

    factory: str | None = None
    """``package.module:function``, called with ``arguments``; returns the untrained model."""
    torchvision: str | None = None
    """Or an architecture of torchvision, made for the data's classes."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    """A safetensors file, or ``models:/NAME@champion`` in MLflow, which may know the architecture too."""

    @model_validator(mode="after")
    def _one_architecture(self) -> UserModel:
        if self.factory and self.torchvision:
            raise ValueError("model has both factory and torchvision: give one of them")
        if not (self.factory or self.torchvision or self.registered):
            raise ValueError("model says no architecture: give factory, torchvision or name")
        return self

    @property
    def registered(self) -> bool:
        """Whether its weights are in MLflow's registry."""
        return self.weights is not None and self.weights.startswith("models:/")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.factory or self.torchvision or str(self.weights)


@dataclass(frozen=True, config=_strict)
class FailuresOfClasses:
    """Those whose label is one of these; the other failures are set aside."""

    classes: Classes


@dataclass(frozen=True, config=_strict)
class ListedFailures:
    """Those that a CSV or Parquet file names; the other failures are set aside."""

    list: str


@dataclass(frozen=True, config=_strict)
class ReportedFailures:
    """Those that a file reports and the model still gets wrong; the other failures are set aside."""

    reported: str


@dataclass(frozen=True, config=_strict)
class FailuresWhere:
    """Those for which a DuckDB predicate over the test rows holds; the other failures are set aside."""

    where: str


def _not_all(groups: dict[str, str]) -> dict[str, str]:
    if ALL_FAILURES in groups:
        raise ValueError(f"no group can be called '{ALL_FAILURES}': it names the failures of a case without groups")
    return groups


@dataclass(frozen=True, config=_strict)
class Nightly:
    """What makes a case a template, of which every night with new failures makes a case of its own."""

    failures: str
    """A folder of CSV and Parquet files that report failing test rows, or one such file that grows."""


GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]{0,59}$")]


@dataclass(frozen=True, config=_strict)
class FailureGroups:
    """Types of failure (App. A.1), repaired one at a time, by predicate. A row is of the first that holds."""

    groups: Annotated[dict[GroupName, str], Field(min_length=1), AfterValidator(_not_all)]


def _by_key(*keys: str, otherwise: str) -> Callable[[Any], str]:
    """Which of several dataclasses is meant, by a key that only it has."""

    def tag(fields: Any) -> str:
        has = fields if isinstance(fields, dict) else vars(fields)
        return next((key for key in keys if key in has), otherwise)

    return tag


DatasetSpec = Annotated[
    Annotated[UserData, Tag("train")]
    | Annotated[TorchvisionData, Tag("torchvision")]
    | Annotated[KnownData, Tag("known")],
    Discriminator(_by_key("train", "torchvision", otherwise="known")),
]
ModelSpec = Annotated[
    Annotated[KnownModel, Tag("name")] | Annotated[UserModel, Tag("factory")],
    Discriminator(_by_key("name", otherwise="factory")),
]
FailuresSpec = Annotated[
    Annotated[FailuresOfClasses, Tag("classes")]
    | Annotated[ListedFailures, Tag("list")]
    | Annotated[ReportedFailures, Tag("reported")]
    | Annotated[FailuresWhere, Tag("where")]
    | Annotated[FailureGroups, Tag("groups")],
    Discriminator(_by_key("list", "reported", "where", "groups", otherwise="classes")),
]
SOURCES = ("train", "torchvision", "known", "name", "factory", "classes", "list", "reported", "where", "groups")
"""Names of the branches above, which are no keys where they head a place."""
