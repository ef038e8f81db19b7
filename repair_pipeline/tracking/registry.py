"""MLflow's model registry: the deployed model (champion) and the one that may replace it (candidate)."""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow import MlflowClient
from torch import nn

from repair_pipeline.datasets.ids import digest
from repair_pipeline.errors import InputError
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import tensors_digest, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.aliases import Standing, change, finish, require_model, standing
from repair_pipeline.tracking.runs import CASE_TAG, log_model
from repair_pipeline.tracking.store import embedded_uri, masked, open_store, registry_uri, using
from repair_pipeline.types import Examples

_ARCHITECTURE = "repair.model"
_WEIGHTS = "repair.weights"
_MODEL_IS = "repair.model_is"
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

    A version with the same weights and tags is not registered again: a process may have been killed after it.

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
    wanted = {**tags, _WEIGHTS: tensors_digest(weights)}
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with using(layout) as client:
        for version in client.search_model_versions(f"name='{name}'"):
            if version.tags.items() >= wanted.items():
                return int(version.version)
        with mlflow.start_run(run_id=run_id):
            info = log_model(
                model,
                tests,
                tags["repair.model_is"],
                extra_files=[str(addressable(weights.parent) / weights.name)],  # MLflow reads it as a URL
                metadata={_ARCHITECTURE: json.dumps(dict(architecture))},
            )
        with redirect_stderr(io.StringIO()):  # MLflow prints its progress there
            return int(mlflow.register_model(info.model_uri, name, tags=wanted).version)


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    number: int
    repaired_by: str | None
    """The case whose repaired model this is; None if it is not a repaired model."""


def champion(layout: Layout, name: str) -> Version | None:
    """The deployed version of the model ``name``; None if there is none yet."""
    known = standing(layout, name)
    if known is None or known.champion is None:
        return None
    tags = _tags(layout, name, known.champion)
    return Version(known.champion, tags[CASE_TAG] if tags.get(_MODEL_IS) == "repaired" else None)


def candidate(layout: Layout, name: str) -> int | None:
    """The version of the model ``name`` that may replace its champion; None if there is none."""
    known = standing(layout, name)
    return None if known is None else known.candidate


def repaired_by(layout: Layout, name: str) -> str | None:
    """The case whose repair is the candidate of the model ``name``; None if there is no candidate."""
    version = candidate(layout, name)
    return None if version is None else _tags(layout, name, version).get(CASE_TAG)


def set_candidate(layout: Layout, name: str, version: int) -> None:
    """Make a version the candidate, unless it is the champion: the process that promoted it may have been killed."""

    def accepted(now: Standing) -> Standing:
        return now if version in (now.champion, now.candidate) else replace(now, candidate=version, waiting=())

    change(layout, name, "candidate", accepted)


def set_champion_if_none(layout: Layout, name: str, case_id: str, publish_version: Callable[[], int]) -> int | None:
    """Publish a version and make it the champion, if there is no champion yet.

    Args:
        layout: where MLflow's store is.
        name: of the registered model.
        case_id: the case whose base model it is.
        publish_version: publishes a version and returns its number.

    Returns:
        The number of the version; None if there is another champion already.
    """
    known = standing(layout, name)
    if known is not None and known.champion is not None:
        tags = _tags(layout, name, known.champion)
        return known.champion if (tags.get(_MODEL_IS), tags.get(CASE_TAG)) == ("base", case_id) else None
    version = publish_version()
    change(layout, name, "first champion", lambda now: replace(now, champion=now.champion or version))
    return version


def repairs_version(layout: Layout, name: str, version: int, former: int) -> bool:
    """Whether a version was made from the weights of a former one.

    If not, replacing the former one may lose what it has repaired. True if there is nothing to compare, or if both are
    repairs of the same case.
    """
    new, old = (_tags(layout, name, each) for each in (version, former))
    repairs, deployed = new.get(REPAIRS), old.get(_WEIGHTS)
    same_case = old.get(CASE_TAG) is not None and old.get(CASE_TAG) == new.get(CASE_TAG)
    return None in (repairs, deployed) or repairs == deployed or same_case


def promote(layout: Layout, name: str) -> tuple[int | None, int]:
    """Make the candidate the champion; returns the versions of the former and the new champion.

    A promotion that was interrupted is finished instead. ``rollback`` undoes it, and makes the version the candidate
    again.

    Raises:
        InputError: there is no such model, or no candidate.
    """

    def promoted(now: Standing) -> Standing:
        if now.candidate is None:
            raise InputError(
                f"model {name!r} has no candidate: the gate has accepted no repair since the last promotion"
            )
        return now.promoted()

    done = change(layout, name, "promotion", promoted)
    return done.before.champion, _number(done.after.champion)


def finished_promotion(layout: Layout, name: str) -> tuple[int | None, int] | None:
    """Finish a promotion that was interrupted; returns what ``promote`` would have. None if there was none."""
    done = finish(layout, name)
    if done is None or done.kind != "promotion":
        return None
    return done.before.champion, _number(done.after.champion)


def rollback(layout: Layout, name: str) -> tuple[int, int]:
    """Make the former champion the champion again; returns the version it replaces and its own.

    A rollback that was interrupted is finished instead. The version that it replaces is the candidate again.

    Raises:
        InputError: there is no such model, or no former champion.
    """

    def rolled_back(now: Standing) -> Standing:
        if not now.former:
            raise InputError(f"model {name!r} has no former champion: there is no promotion to roll back")
        return now.rolled_back()

    done = change(layout, name, "rollback", rolled_back)
    return _number(done.before.champion), _number(done.after.champion)


def _number(version: int | None) -> int:
    assert version is not None  # such a transition has a champion before or after it
    return version


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
    with using(layout) as client:
        name, version = _version(layout, client, uri)
        pinned = f"models:/{name}/{version}"
        folder = _weights_folder(layout) / name / str(version)
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


def _weights_folder(layout: Layout) -> Path:
    """Where downloaded weights are kept: apart for each registry, as two may have versions of one name."""
    folder, uri = layout.mlflow / "weights", registry_uri(layout)
    return folder if uri == embedded_uri(layout) else folder / digest(masked(uri).encode())


def _version(layout: Layout, client: MlflowClient, uri: str) -> tuple[str, int]:
    reference = uri.removeprefix("models:/")
    name, separator, alias = reference.partition("@")
    if separator:
        aliases = _aliases(layout, client, name)
        if alias not in aliases:
            known = ", ".join(aliases) or "none"
            raise InputError(f"{uri}: model {name!r} has no alias {alias!r}, only {known}: give one, or a version")
        return name, aliases[alias]
    name, _, version = reference.rpartition("/")
    versions = sorted(int(each.version) for each in client.search_model_versions(f"name='{name}'"))
    if not version.isdigit() or int(version) not in versions:
        raise InputError(f"{uri}: there is no such version, {name!r} has {versions}: write models:/NAME/VERSION")
    return name, int(version)


def _aliases(layout: Layout, client: MlflowClient, name: str) -> dict[str, int]:
    standing(layout, name)  # finishes a transition that was interrupted
    return {alias: int(version) for alias, version in require_model(client, name).aliases.items()}


def _tags(layout: Layout, name: str, version: int) -> Mapping[str, str]:
    return dict(open_store(layout).get_model_version(name, str(version)).tags)
