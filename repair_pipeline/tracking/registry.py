"""MLflow's model registry: the deployed model (champion) and the one that may replace it (candidate)."""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow  # after tracking.runs, which switches its telemetry off
import torch
from mlflow import MlflowClient
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import tensors_digest, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.runs import log_model, open_store, tracking_uri
from repair_pipeline.types import Examples

CHAMPION, CANDIDATE = "champion", "candidate"
_FORMER = "repair.former_champions"
"""Tag of a registered model that lists the versions of former champions, the latest last."""
_ARCHITECTURE = "repair.model"
_WEIGHTS = "repair.weights"
_CASE = "repair.case_id"
REPAIRS = "repair.repairs"
"""Tag of a version with the digest of the weights that it repairs."""


def publish(
    layout: Layout,
    name: str,
    model: nn.Module,
    weights: Path,
    architecture: Mapping[str, Any],
    tests: Examples,
    run_id: str,
    tags: Mapping[str, str],
) -> int:
    """Register a version of a model, in MLflow's format together with a safetensors file.

    Args:
        layout: where MLflow's store is.
        name: of the registered model.
        model: the model.
        weights: its safetensors file.
        architecture: the key ``model`` of the case, from which a case that names this version rebuilds the model.
        tests: rows with the shape of the model's input.
        run_id: the MLflow run that made the model.
        tags: of the version.

    Returns:
        The number of the version.
    """
    open_store(layout)
    mlflow.set_tracking_uri(tracking_uri(layout))
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with mlflow.start_run(run_id=run_id):
        info = log_model(
            model,
            tests,
            tags["repair.model_is"],
            extra_files=[str(addressable(weights.parent) / weights.name)],  # MLflow reads it as a URL
            metadata={_ARCHITECTURE: json.dumps(dict(architecture))},
        )
    with redirect_stderr(io.StringIO()):  # MLflow prints its progress there
        version = mlflow.register_model(info.model_uri, name, tags={**tags, _WEIGHTS: tensors_digest(weights)})
    return int(version.version)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int
    repaired_by: str | None
    """The case whose repaired model this is; None if it is not a repaired model."""


def champion(layout: Layout, name: str) -> Version | None:
    """The deployed version of the model ``name``; None if there is none yet."""
    number = _aliases(layout, name).get(CHAMPION)
    if number is None:
        return None
    tags = _client(layout).get_model_version(name, str(number)).tags
    return Version(number, tags[_CASE] if tags.get("repair.model_is") == "repaired" else None)


def candidate(layout: Layout, name: str) -> int | None:
    """The version of the model ``name`` that may replace its champion; None if there is none."""
    return _aliases(layout, name).get(CANDIDATE)


def repaired_by(layout: Layout, name: str) -> str | None:
    """The case whose repair is the candidate of the model ``name``; None if there is no candidate."""
    version = candidate(layout, name)
    return None if version is None else _client(layout).get_model_version(name, str(version)).tags.get(_CASE)


def set_candidate(layout: Layout, name: str, version: int) -> None:
    """Make a version the candidate."""
    _client(layout).set_registered_model_alias(name, CANDIDATE, str(version))


def set_champion_if_none(layout: Layout, name: str, publish_version: Callable[[], int]) -> int | None:
    """Publish a version and make it the champion, if there is no champion yet.

    Args:
        layout: where MLflow's store is.
        name: of the registered model.
        publish_version: publishes a version and returns its number.

    Returns:
        The number of the version; None if there is a champion already.
    """
    if CHAMPION in _aliases(layout, name):
        return None
    version = publish_version()
    _client(layout).set_registered_model_alias(name, CHAMPION, str(version))
    return version


def repairs_champion(layout: Layout, name: str) -> bool:
    """Whether the candidate was made from the champion's weights.

    If not, promoting it may lose what the champion has repaired. True if there is nothing to compare, or if both are
    repairs of the same case.
    """
    aliases = _aliases(layout, name)
    if not {CHAMPION, CANDIDATE} <= aliases.keys():
        return True
    champion, candidate = (
        _client(layout).get_model_version(name, str(aliases[alias])).tags for alias in (CHAMPION, CANDIDATE)
    )
    repairs, deployed = candidate.get(REPAIRS), champion.get(_WEIGHTS)
    same_case = champion.get(_CASE) is not None and champion.get(_CASE) == candidate.get(_CASE)
    return None in (repairs, deployed) or repairs == deployed or same_case


def promote(layout: Layout, name: str) -> tuple[int | None, int]:
    """Make the candidate the champion; returns the versions of the former and the new champion.

    Raises:
        InputError: there is no such model, or no candidate.
    """
    client, aliases = _client(layout), _existing_aliases(layout, name)
    if CANDIDATE not in aliases:
        raise InputError(f"model {name!r} has no candidate: the gate has accepted no repair since the last promotion")
    former, new = aliases.get(CHAMPION), aliases[CANDIDATE]
    if former is not None:
        _set_former(layout, name, [*_former(layout, name), former])
    client.set_registered_model_alias(name, CHAMPION, str(new))
    client.delete_registered_model_alias(name, CANDIDATE)
    return former, new


def rollback(layout: Layout, name: str) -> tuple[int, int]:
    """Make the former champion the champion again; returns the version it replaces and its own.

    Raises:
        InputError: there is no such model, or no former champion.
    """
    aliases, former = _existing_aliases(layout, name), _former(layout, name)
    if not former:
        raise InputError(f"model {name!r} has no former champion: there is no promotion to roll back")
    _client(layout).set_registered_model_alias(name, CHAMPION, str(former[-1]))
    _set_former(layout, name, former[:-1])
    return aliases[CHAMPION], former[-1]


def resolve(layout: Layout, uri: str) -> tuple[str, Path, Mapping[str, Any] | None]:
    """Find a registered version and download its weights.

    Args:
        layout: where MLflow's store is.
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Returns:
        The URI with the number of the version, the safetensors file, and the architecture if it is known.

    Raises:
        InputError: there is no such version, or its weights are only available as a pickle.
    """
    name, version = _version(layout, uri)
    pinned = f"models:/{name}/{version}"
    mlflow.set_tracking_uri(tracking_uri(layout))
    folder = layout.mlflow / "weights" / name / str(version)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as beside:
            whole = Path(beside) / "weights"
            mlflow.artifacts.download_artifacts(artifact_uri=pinned, dst_path=str(whole))
            try:
                whole.rename(folder)  # an interrupted download leaves nothing that looks like weights
            except OSError:
                if not folder.is_dir():  # another process was first
                    raise
    stored = (mlflow.models.get_model_info(pinned).metadata or {}).get(_ARCHITECTURE)
    architecture = json.loads(stored) if stored else None
    extra_files = sorted(folder.glob("extra_files/*.safetensors"))
    if extra_files:
        return pinned, extra_files[0], architecture
    programs = sorted(folder.rglob("*.pt2"))
    if not programs:
        raise InputError(f"{uri} is a pickle, which is never read: give model.factory and a safetensors file instead")
    weights = folder / "weights.safetensors"
    write_tensors(weights, dict(torch.export.load(programs[0]).state_dict), {})
    return pinned, weights, architecture


def _version(layout: Layout, uri: str) -> tuple[str, int]:
    reference = uri.removeprefix("models:/")
    name, separator, alias = reference.partition("@")
    if separator:
        aliases = _existing_aliases(layout, name)
        if alias not in aliases:
            known = ", ".join(aliases) or "none"
            raise InputError(f"{uri}: model {name!r} has no alias {alias!r}, only {known}: give one, or a version")
        return name, aliases[alias]
    name, _, version = reference.rpartition("/")
    versions = sorted(int(each.version) for each in _client(layout).search_model_versions(f"name='{name}'"))
    if not version.isdigit() or int(version) not in versions:
        raise InputError(f"{uri}: there is no such version, {name!r} has {versions}: write models:/NAME/VERSION")
    return name, int(version)


def _client(layout: Layout) -> MlflowClient:
    return open_store(layout)


def _aliases(layout: Layout, name: str) -> dict[str, int]:
    try:
        model = _client(layout).get_registered_model(name)
    except mlflow.MlflowException:
        return {}
    return {alias: int(version) for alias, version in model.aliases.items()}


def _existing_aliases(layout: Layout, name: str) -> dict[str, int]:
    names = [model.name for model in _client(layout).search_registered_models()]
    if name not in names:
        raise InputError(
            f"there is no registered model {name!r}: the registered models are {', '.join(names) or 'none'}"
        )
    return _aliases(layout, name)


def _former(layout: Layout, name: str) -> list[int]:
    return list(json.loads(_client(layout).get_registered_model(name).tags.get(_FORMER, "[]")))


def _set_former(layout: Layout, name: str, versions: list[int]) -> None:
    _client(layout).set_registered_model_tag(name, _FORMER, json.dumps(versions))
