"""MLflow's model registry: which model is deployed, and which may follow it."""

from __future__ import annotations

import io
import json
import logging
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
"""The tag of a registered model that remembers them, the last one last."""
_ARCHITECTURE = "repair.model"
_WEIGHTS = "repair.weights"
_CASE = "repair.case_id"
REPAIRS = "repair.repairs"
"""The tag of a version that says of which weights it is the repair."""


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
    """Add a version of the registered model ``name``: MLflow's own format, and the safetensors file beside it.

    Args:
        architecture: the case's ``model``, from which a case that names this version makes the model again.
        tests: rows that show the model's input.
        run_id: the run that vouches for it.
    """
    open_store(layout)
    mlflow.set_tracking_uri(tracking_uri(layout))
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with mlflow.start_run(run_id=run_id):
        info = log_model(
            model,
            tests,
            tags["repair.model_is"],
            extra_files=[str(addressable(weights.parent) / weights.name)],  # which MLflow reads as a URL
            metadata={_ARCHITECTURE: json.dumps(dict(architecture))},
        )
    with redirect_stderr(io.StringIO()):  # it says there what it does
        version = mlflow.register_model(info.model_uri, name, tags={**tags, _WEIGHTS: tensors_digest(weights)})
    return int(version.version)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int
    repaired_by: str | None
    """The case whose repaired model it is; None: no case's."""


def champion(layout: Layout, name: str) -> Version | None:
    """The deployed version of the model ``name``; None where there is none yet."""
    number = _aliases(layout, name).get(CHAMPION)
    if number is None:
        return None
    tags = _client(layout).get_model_version(name, str(number)).tags
    return Version(number, tags[_CASE] if tags.get("repair.model_is") == "repaired" else None)


def candidate(layout: Layout, name: str) -> int | None:
    """The version of the model ``name`` that may follow its champion."""
    return _aliases(layout, name).get(CANDIDATE)


def repaired_by(layout: Layout, name: str) -> str | None:
    """The case whose repair the candidate of the model ``name`` is; None where there is no candidate."""
    version = candidate(layout, name)
    return None if version is None else _client(layout).get_model_version(name, str(version)).tags.get(_CASE)


def set_candidate(layout: Layout, name: str, version: int) -> None:
    """Make a version the candidate."""
    _client(layout).set_registered_model_alias(name, CANDIDATE, str(version))


def set_champion_if_none(layout: Layout, name: str, made: Callable[[], int]) -> int | None:
    """Make ``made()`` the champion where there is none yet; returns its version."""
    if CHAMPION in _aliases(layout, name):
        return None
    version = made()
    _client(layout).set_registered_model_alias(name, CHAMPION, str(version))
    return version


def repairs_champion(layout: Layout, name: str) -> bool:
    """Whether the candidate was made from the champion's weights; else what that one has repaired may be lost with it.

    True where there is nothing to compare, and where both are of one case.
    """
    aliases = _aliases(layout, name)
    if not {CHAMPION, CANDIDATE} <= aliases.keys():
        return True
    champion, candidate = (
        _client(layout).get_model_version(name, str(aliases[alias])).tags for alias in (CHAMPION, CANDIDATE)
    )
    repairs, deployed = candidate.get(REPAIRS), champion.get(_WEIGHTS)
    of_one_case = champion.get(_CASE) is not None and champion.get(_CASE) == candidate.get(_CASE)
    return None in (repairs, deployed) or repairs == deployed or of_one_case


def promote(layout: Layout, name: str) -> tuple[int | None, int]:
    """The candidate becomes champion; returns the former one's version and the new one's.

    Raises:
        InputError: there is no such model, or no candidate.
    """
    client, aliases = _client(layout), _known(layout, name)
    if CANDIDATE not in aliases:
        raise InputError(f"model {name!r} has no candidate: the gate has accepted no repair since the last promotion")
    former, new = aliases.get(CHAMPION), aliases[CANDIDATE]
    if former is not None:
        _remember(layout, name, [*_former(layout, name), former])
    client.set_registered_model_alias(name, CHAMPION, str(new))
    client.delete_registered_model_alias(name, CANDIDATE)
    return former, new


def rollback(layout: Layout, name: str) -> tuple[int, int]:
    """The former champion is champion again; returns the version that it replaces and its own.

    Raises:
        InputError: there is no such model, or no former champion.
    """
    aliases, former = _known(layout, name), _former(layout, name)
    if not former:
        raise InputError(f"model {name!r} has no former champion: nothing was promoted that could be taken back")
    _client(layout).set_registered_model_alias(name, CHAMPION, str(former[-1]))
    _remember(layout, name, former[:-1])
    return aliases[CHAMPION], former[-1]


def resolve(layout: Layout, uri: str) -> tuple[str, Path, Mapping[str, Any] | None]:
    """Which version ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` is, its weights, and its architecture if known.

    Raises:
        InputError: there is no such model, or its weights could only be had by unpickling.
    """
    name, version = _version(layout, uri)
    pinned = f"models:/{name}/{version}"
    mlflow.set_tracking_uri(tracking_uri(layout))
    folder = layout.mlflow / "weights" / name / str(version)
    if not folder.is_dir():
        mlflow.artifacts.download_artifacts(artifact_uri=pinned, dst_path=str(folder))
    said = (mlflow.models.get_model_info(pinned).metadata or {}).get(_ARCHITECTURE)
    architecture = json.loads(said) if said else None
    beside = sorted(folder.glob("extra_files/*.safetensors"))
    if beside:
        return pinned, beside[0], architecture
    programs = sorted(folder.rglob("*.pt2"))
    if not programs:
        raise InputError(f"{uri} is pickled, which is never read: give model.factory and a safetensors file instead")
    weights = folder / "weights.safetensors"
    write_tensors(weights, dict(torch.export.load(programs[0]).state_dict), {})
    return pinned, weights, architecture


def _version(layout: Layout, uri: str) -> tuple[str, int]:
    said = uri.removeprefix("models:/")
    name, at, alias = said.partition("@")
    if at:
        aliases = _known(layout, name)
        if alias not in aliases:
            there = ", ".join(aliases) or "none"
            raise InputError(f"{uri}: model {name!r} has no alias {alias!r}, it has {there}: name one, or a version")
        return name, aliases[alias]
    name, _, version = said.rpartition("/")
    versions = sorted(int(found.version) for found in _client(layout).search_model_versions(f"name='{name}'"))
    if not version.isdigit() or int(version) not in versions:
        raise InputError(f"{uri}: there is no such version, {name!r} has {versions}: write models:/NAME/VERSION")
    return name, int(version)


def _client(layout: Layout) -> MlflowClient:
    return open_store(layout)


def _aliases(layout: Layout, name: str) -> dict[str, int]:
    try:
        found = _client(layout).get_registered_model(name)
    except mlflow.MlflowException:
        return {}
    return {alias: int(version) for alias, version in found.aliases.items()}


def _known(layout: Layout, name: str) -> dict[str, int]:
    there = [model.name for model in _client(layout).search_registered_models()]
    if name not in there:
        raise InputError(f"there is no registered model {name!r}: there are {', '.join(there) or 'none'}")
    return _aliases(layout, name)


def _former(layout: Layout, name: str) -> list[int]:
    return list(json.loads(_client(layout).get_registered_model(name).tags.get(_FORMER, "[]")))


def _remember(layout: Layout, name: str, versions: list[int]) -> None:
    _client(layout).set_registered_model_tag(name, _FORMER, json.dumps(versions))
