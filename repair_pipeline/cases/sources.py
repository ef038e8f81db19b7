"""Specs of a case's data set, model, training and failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PositiveInt,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from repair_pipeline.cases.corruption import Classes
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.datasets.user_data import TorchvisionData, UserData, is_none
from repair_pipeline.models.pretrained import Lora
from repair_pipeline.models.user_model import Adapted
from repair_pipeline.training.fit import Schedule
from repair_pipeline.training.function import UserTraining
from repair_pipeline.training.recipe import UserRecipe
from repair_pipeline.types import ALL_FAILURES

_strict = ConfigDict(extra="forbid")


__all__ = [
    "SOURCES",
    "Adapted",
    "ComputeSpec",
    "DatasetSpec",
    "FailuresSpec",
    "KnownData",
    "KnownModel",
    "LeaveOut",
    "ModelSpec",
    "Nightly",
    "PatchSpec",
    "TrainingSpec",
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
    """An architecture that the studies use."""

    name: Literal["cnn", "cnn8", "cnn_compact", "mlp", "resnet18", "resnet50"] = "cnn"

    @property
    def title(self) -> str:
        """Name for tables and messages."""
        return self.name


@dataclass(frozen=True, config=_strict)
class UserModel:
    """A user's own classifier. Without weights it is trained like the models of the studies."""

    factory: str | None = None
    """``package.module:function``, called with ``arguments``; returns the untrained model."""
    torchvision: str | None = None
    """Instead of ``factory``: the name of a torchvision architecture, built with one output per class of the data."""
    transformers: str | None = Field(default=None, exclude_if=is_none)
    """Instead of ``factory``: the folder of a model of the transformers library, which classifies texts or images."""
    lora: Lora | None = Field(default=None, exclude_if=is_none)
    """Low-rank adapters of that model, which alone are adapted, with its head."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    weights: str | None = None
    """A safetensors file, or ``models:/NAME@champion`` in MLflow, where the architecture may be stored too."""

    @model_validator(mode="after")
    def _one_architecture(self) -> UserModel:
        given = [key for key in ("factory", "torchvision", "transformers") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"model has both {given[0]} and {given[1]}: give one of them")
        if not (given or self.registered):
            raise ValueError("model has no architecture: give factory, torchvision, transformers or name")
        if self.lora and not self.transformers:
            raise ValueError("lora adapts a model of transformers: give its folder, or leave lora out")
        return self

    @property
    def registered(self) -> bool:
        """Whether its weights are in MLflow's registry."""
        return self.weights is not None and self.weights.startswith("models:/")

    @property
    def title(self) -> str:
        """Name for tables and messages."""
        return self.factory or self.torchvision or self.transformers or str(self.weights)


@dataclass(frozen=True, config=_strict)
class FailuresOfClasses:
    """Repair the failures whose label is one of these classes; the other failures are set aside."""

    classes: Classes


@dataclass(frozen=True, config=_strict)
class ListedFailures:
    """Repair the failures that a CSV or Parquet file lists; the other failures are set aside."""

    list: str


@dataclass(frozen=True, config=_strict)
class ReportedFailures:
    """Repair the failures that a file reports and the model still gets wrong; the others are set aside."""

    reported: str


@dataclass(frozen=True, config=_strict)
class FailuresWhere:
    """Repair the failures for which a DuckDB predicate over the test rows holds; the others are set aside."""

    where: str


def _not_all(groups: dict[str, str]) -> dict[str, str]:
    if ALL_FAILURES in groups:
        raise ValueError(
            f"a group is called '{ALL_FAILURES}', the name for all failures of a case without groups: rename it"
        )
    return groups


@dataclass(frozen=True, config=_strict)
class Nightly:
    """Makes a case a template: every nightly run with new failures creates a case from it."""

    failures: str
    """A folder of CSV and Parquet files that report failing test rows, or one such file that is appended to."""


GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.]{0,59}$")]


@dataclass(frozen=True, config=_strict)
class FailureGroups:
    """Types of failure (App. A.1), each given by a predicate and repaired by itself.

    A row belongs to the first group whose predicate holds.
    """

    groups: Annotated[dict[GroupName, str], Field(min_length=1), AfterValidator(_not_all)]


def _by_key(*keys: str, otherwise: str) -> Callable[[Any], str]:
    """Selects one of several dataclasses by a key that only it has."""

    def tag(fields: Any) -> str:
        present = fields if isinstance(fields, dict) else getattr(fields, "__dict__", ())
        return next((key for key in keys if key in present), otherwise)

    return tag


@dataclass(frozen=True, config=_strict)
class ComputeSpec:
    """Computing resources."""

    threads: PositiveInt = 1
    """Intra-op threads. Results on one machine are bit-identical for the same count, so it is part of the case."""


@dataclass(frozen=True, config=_strict)
class PatchSpec:
    """The trainings by which a data patch is judged."""

    trainings: Annotated[int, Field(ge=2)] = 3
    """Trainings on the data as they are, and as many on the patched data."""


def _each_once(reasons: tuple[str, ...]) -> tuple[str, ...] | None:
    return tuple(sorted(set(reasons))) or None


Doubt = Literal["near_duplicate", "doubtful_label"]
"""Why a test row is weak evidence: a reason in ``doubtful_tests``."""
LeaveOut = Annotated[tuple[Doubt, ...], AfterValidator(_each_once)]
"""Reasons why test rows are weak evidence."""

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
TrainingSpec = Annotated[
    Annotated[Schedule, Tag("max_epochs")]
    | Annotated[UserRecipe, Tag("epochs")]
    | Annotated[UserTraining, Tag("function")],
    Discriminator(_by_key("function", "epochs", otherwise="max_epochs")),
]
SOURCES = (
    *("train", "torchvision", "known", "name", "factory", "classes", "list", "reported", "where", "groups"),
    *("max_epochs", "epochs", "function"),
)
"""Tags of the unions above. Pydantic puts them into the location of an error, although they are no keys there."""
