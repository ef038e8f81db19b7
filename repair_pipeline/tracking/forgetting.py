"""Removing what MLflow keeps of a case. Versions of a registered model that have a standing stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.aliases import standing
from repair_pipeline.tracking.runs import CASE_TAG
from repair_pipeline.tracking.store import embedded, every, has_store, open_store


def standing_cases(layout: Layout) -> dict[str, str]:
    """The cases whose model is the champion or the candidate of a registered model, each with what it is."""
    if not has_store(layout):
        return {}
    client, cases = open_store(layout), dict[str, str]()
    for model in client.search_registered_models():
        now = standing(layout, model.name)
        for what, number in (("candidate", now and now.candidate), ("champion", now and now.champion)):
            if number is not None:
                tags: Mapping[str, str] = client.get_model_version(model.name, str(number)).tags
                if CASE_TAG in tags:
                    cases[tags[CASE_TAG]] = f"version {number} of {model.name}, the {what}, is of it"
    return cases


def forget(layout: Layout, case_id: str) -> int:
    """Delete the MLflow runs of a case, the models that they logged, and its versions that have no standing.

    Versions that are the champion, the candidate, or are rolled back or forward to stay, and so does the newest of a
    model, whose number would be given again; their files stay with them. In the embedded store runs and files are
    removed for good; a server only marks them as deleted, until ``mlflow gc`` runs there.

    Returns:
        The number of runs.
    """
    if not has_store(layout):
        return 0
    client = open_store(layout)
    for version in _versions_without_standing(layout, client, case_id):
        client.delete_model_version(version.name, version.version)
    sources = {version.source for version in _all_versions(client)}
    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    of_case = f"tags.`{CASE_TAG}` = '{case_id}'"
    # Also runs that are marked as deleted: a process may have been killed after that.
    runs = list(every(lambda token: client.search_runs(experiments, of_case, ViewType.ALL, page_token=token)))
    for run in runs:
        for model in client.search_logged_models(experiments, f"source_run_id = '{run.info.run_id}'"):
            if f"models:/{model.model_id}" not in sources:
                _delete_model(layout, client, model)
        _delete_run(layout, client, run)
    return len(runs)


def _versions_without_standing(layout: Layout, client: MlflowClient, case_id: str) -> Iterator[ModelVersion]:
    versions = _all_versions(client)
    for name in {version.name for version in versions}:
        of_model = [version for version in versions if version.name == name]
        now = standing(layout, name)
        kept = {max(int(version.version) for version in of_model)}
        if now is not None:
            kept |= {number for number in (now.champion, now.candidate, *now.former, *now.waiting) if number}
        for version in of_model:
            if version.tags.get(CASE_TAG) == case_id and int(version.version) not in kept:
                yield version


def _all_versions(client: MlflowClient) -> list[ModelVersion]:
    return list(every(lambda token: client.search_model_versions(page_token=token)))


# MLflow can remove things for good only by ``mlflow gc``, which would remove whatever else is marked as deleted, too.


def _delete_run(layout: Layout, client: MlflowClient, run: Run) -> None:
    if run.info.lifecycle_stage == "active":
        client.delete_run(run.info.run_id)
    if embedded(layout):
        _remove_files(layout, run.info.artifact_uri)
        client._tracking_client.store._hard_delete_run(run.info.run_id)


def _delete_model(layout: Layout, client: MlflowClient, model: LoggedModel) -> None:
    client.delete_logged_model(model.model_id)
    if embedded(layout):
        _remove_files(layout, model.artifact_location)
        client._tracking_client.store._hard_delete_logged_model(model.model_id)


def _remove_files(layout: Layout, uri: str) -> None:
    """Remove the folder of artifacts, and its own folder if nothing else is in it. Others' places are left alone."""
    place = Path(unquote(urlsplit(uri).path)).resolve()
    if layout.mlflow.resolve() not in place.parents:
        return
    shutil.rmtree(place, ignore_errors=True)
    if place.parent.is_dir() and not any(place.parent.iterdir()):
        place.parent.rmdir()
