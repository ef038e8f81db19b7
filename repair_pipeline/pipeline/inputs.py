"""The user's files and code that a case depends on: their digests now and when the case was opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from repair_pipeline.cases.sources import KnownData, UserModel
from repair_pipeline.cases.spec import CODE, FILES, CaseSpec
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.datasets.patching import applied_patches
from repair_pipeline.datasets.table_files import parquet_files
from repair_pipeline.datasets.user_data import TorchvisionData, UserData, torchvision_folder
from repair_pipeline.datasets.user_tables import image_files, is_image_folder
from repair_pipeline.entry_point import source_files
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.decisions import digests_of_application
from repair_pipeline.pipeline.interrupted import undo_interrupted
from repair_pipeline.pipeline.weights import pinned, weights_path
from repair_pipeline.storage.identity import kept_digests
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.storage.records import fingerprint
from repair_pipeline.tracking.registry import repaired_by
from repair_pipeline.tracking.runs import Input

OWN = (*FILES, *CODE, "dataset.torchvision")
"""Keys that name the user's files and code. Their digests are part of the case's id."""


def opened(spec: CaseSpec, layout: Layout) -> CaseSpec:
    """The case with the digests of its files and code, and with the model version that its alias names today.

    Raises:
        InputError: a file cannot be read, or the registry does not know the model.
    """
    undo_interrupted(spec, layout)
    spec = pinned(spec, layout)
    inputs = digests(spec, layout, OWN)
    return replace(spec, inputs=inputs, folder=str(spec.root.absolute())) if inputs else replace(spec, folder=None)


def digests(spec: CaseSpec, layout: Layout, keys: Iterable[str]) -> dict[str, str]:
    """The digest of the files or code behind each key. A key without files is left out."""
    files_by_key = {key: _files(spec, layout, key) for key in keys}
    return {key: kept_digests().of(files) for key, files in files_by_key.items() if files}


def changed_inputs(spec: CaseSpec, layout: Layout, keys: Iterable[str] = OWN) -> list[str]:
    """The keys whose files or code have changed, or are gone, since the case was opened."""
    judged = {key: (spec.inputs or {})[key] for key in keys if key in (spec.inputs or {})}
    now = digests(spec, layout, judged)
    return [key for key, digest in judged.items() if now.get(key) != digest]


def changed_data(spec: CaseSpec, layout: Layout, case_id: str) -> list[str]:
    """The keys of data and weights that have changed since the case was judged.

    That its own patch is applied is no change, nor is one that it was judged with. The digests of the training data
    before and after each application tell a file that the patch changed from one that was changed since.
    """
    keys = ("dataset.train", "dataset.test", "dataset.tokenizer", "dataset.torchvision")
    changed = changed_inputs(spec, layout, (*keys, "model.weights", "model.transformers"))
    if "dataset.train" in changed and isinstance(spec.dataset, UserData):
        expected = (spec.inputs or {})["dataset.train"]
        for name in applied_patches(spec.dataset, spec.root):
            application = digests_of_application(layout, name)
            if application and name in (case_id, *(spec.patches or ())) and application[0] == expected:
                expected = application[1]
        if expected == digests(spec, layout, ["dataset.train"]).get("dataset.train"):
            changed.remove("dataset.train")
    return changed


def require_unchanged(spec: CaseSpec, layout: Layout, keys: Iterable[str] = OWN) -> None:
    """Refuse a case whose files or code have changed since it was opened.

    Raises:
        InputError: says which have changed.
    """
    if changed := changed_inputs(spec, layout, keys):
        raise InputError(
            f"{described(spec, changed)} changed since case {spec.name} was opened: give its case file again, "
            "repair run FILE.yaml, which makes a case of the files as they are"
        )


def require_judged_data(layout: Layout, name: str) -> None:
    """Refuse to promote a repair if the data have changed since it was judged.

    Raises:
        InputError: there is no such model, or says what has changed since its candidate was judged.
    """
    key = repaired_by(layout, name)
    spec = stored_spec(layout, key) if key else None
    if key and spec and (changed := changed_data(spec, layout, key)):
        raise InputError(
            f"{described(spec, changed)} changed since {key}, the candidate of {name}, was judged: run its case file "
            "again, and promote what that accepts"
        )


def tracked_inputs(case: Case) -> list[Input]:
    """The inputs of a case for MLflow. Data that a package ships have the fingerprint of ids and labels as digest."""
    spec, layout = case.spec, case.layout
    digest_by_key = (spec.inputs or {}) | digests(spec, layout, ("dataset.name",))
    if isinstance(spec.dataset, KnownData):
        digest_by_key.setdefault("dataset.name", fingerprint(case.data))
    return [Input(key, shown(spec, key), digest, _source(spec, layout, key)) for key, digest in digest_by_key.items()]


def _source(spec: CaseSpec, layout: Layout, key: str) -> str:
    files = _files(spec, layout, key)
    if isinstance(spec.dataset, UserData) and key in ("dataset.train", "dataset.test"):
        return str(spec.root / shown(spec, key))
    return str(os.path.commonpath(files.values())) if files else shown(spec, key)


def described(spec: CaseSpec, keys: Iterable[str]) -> str:
    """Inputs for a message: each key with its file or code."""
    return " and ".join(f"{key} ({shown(spec, key)})" for key in keys)


def shown(spec: CaseSpec, key: str) -> str:
    """The file or the code behind a key, as the case names it."""
    place, name = key.split(".")
    return str(getattr(getattr(spec, place), name))


def _files(spec: CaseSpec, layout: Layout, key: str) -> dict[str, Path]:
    """The files behind a key; empty where the case has no such key, or the files are missing."""
    place, name = key.split(".")
    value = getattr(getattr(spec, place), name, None)
    if not isinstance(value, str):
        return {}
    if isinstance(spec.dataset, KnownData) and key == "dataset.name":
        return {file.name: file for file in DATASETS[value].files(data_dir())}
    if isinstance(spec.dataset, TorchvisionData) and key == "dataset.torchvision":
        folder = torchvision_folder(value, data_dir())
        return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    if key in CODE:
        # Code of this package is not the user's: the versions of the steps tell when it changes results.
        return {} if value.startswith("repair_pipeline.") else source_files(key, value, spec.root)
    if isinstance(spec.model, UserModel) and key == "model.weights":
        return _one(weights_path(spec, layout))
    if key in ("dataset.tokenizer", "model.transformers"):
        folder = spec.root / value
        return {file.name: file for file in folder.iterdir() if file.is_file()} if folder.is_dir() else {}
    return _files_at(spec.root / value)


def _files_at(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        return _one(path)
    files = image_files(path) if is_image_folder(path) else parquet_files(path)
    return {file.relative_to(path).as_posix(): file for file in files}


def _one(path: Path | None) -> dict[str, Path]:
    return {"": path} if path is not None and path.is_file() else {}
