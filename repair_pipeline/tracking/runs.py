"""Logs a finished case to MLflow, and reads logged cases."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import mlflow
import torch
from matplotlib.figure import Figure
from mlflow import ActiveRun
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.models import infer_signature
from mlflow.models.model import ModelInfo
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.models.copying import copied
from repair_pipeline.named_tensors import NamedTensors, tensors_of
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.room import require_room
from repair_pipeline.tracking.attempts import begin_attempt
from repair_pipeline.tracking.store import has_store, is_server, masked, models_page, runs_page, tracking_uri, using
from repair_pipeline.tracking.weights_only import SEVERAL_TENSORS, log_weights, quiet_export
from repair_pipeline.types import Examples, Progress, silent

log = logging.getLogger(__name__)

CASE_TAG = "repair.case_id"
"""Tag of runs and of versions of registered models with the case that they are of."""
_BASE, _FINGERPRINT = "repair.base_id", "repair.fingerprint"
_SPEC = "spec.json"
_COPIES, _PROGRAM = 3, 2**22
"""Of the weights, and the bytes beside them, for which the folder of temporary files must have room."""
_REQUIREMENTS = [f"{package}=={version(package)}" for package in ("torch", "numpy")]


def run_url(run: Mapping[str, str]) -> str:
    """URL of a run on MLflow's page; ``run`` is what ``track`` returned."""
    return _url(runs_page(), f"experiments/{run['experiment_id']}/runs/{run['run_id']}")


def report_url(run: Mapping[str, str]) -> str:
    """URL of a case's report on MLflow's page, which shows it; ``run`` is what ``track`` returned."""
    return _url(runs_page(), f"experiments/{run['experiment_id']}/runs/{run['run_id']}/artifacts/report.html")


def model_url(name: str, version: int) -> str:
    """URL of a version of a registered model on MLflow's page."""
    return _url(models_page(), f"models/{name}/versions/{version}")


def _url(page: str, path: str) -> str:
    # Without the workflow type, MLflow shows the sidebar for language models.
    return f"{page}/#/{path}?workflowType=machine_learning"


@dataclass(frozen=True)
class Input:
    """Files that a case uses, as MLflow lists them."""

    context: str
    """The key of the case that names the files."""
    name: str
    digest: str
    source: str
    """The file, or the folder of the files."""

    @property
    def entity(self) -> DatasetInput:
        """MLflow's entity for the files."""
        dataset = Dataset(self.name, self.digest, source_type="local", source=json.dumps({"uri": self.source}))
        return DatasetInput(dataset, [InputTag("mlflow.data.context", self.context)])


def track(
    layout: Layout,
    case_id: str,
    inputs: Iterable[Input],
    repaired: nn.Module | None,
    tests: Examples,
    figures: Mapping[str, Figure],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    progress: Progress = silent,
) -> dict[str, str]:
    """Log a finished case: spec, code, data, metrics, figures, the report and the repaired model.

    The parent run has the numbers of the judged repair. Each influence method and each treated model is a child run.
    Metrics are named after the columns of the tables in all runs, so that runs can be compared.

    Args:
        layout: where the tables are stored.
        case_id: the case.
        inputs: files that the case uses.
        repaired: the model to log; None if no repair was made.
        tests: rows with the shape of the model's input, for the model's signature.
        figures: by name.
        metrics: of the parent run, named after columns.
        tags: of the parent run.
        progress: called with (done, total) child runs.

    Returns:
        ``experiment_id`` and ``run_id`` of the parent run.

    Raises:
        InputError: MLflow's server does not answer, or its experiment is deleted.
    """
    case = _rows(layout, "cases", case_id)[0]
    with using(layout) as client:
        experiment_id = _experiment(layout)
        common_tags = {
            CASE_TAG: case_id,
            _BASE: case["base_id"],
            _FINGERPRINT: case["fingerprint"],
            "repair.git_sha": git_sha() or "not a git checkout",
            "repair.versions": ", ".join(f"{name} {version(name)}" for name in ("repair_pipeline", "torch", "numpy")),
            "repair.device": ", ".join(sorted({row["device"] for row in _rows(layout, "timings", case_id)})),
            **begin_attempt(layout, case_id, client, experiment_id),
        }
        with mlflow.start_run(experiment_id=experiment_id, run_name=case_id, tags={**common_tags, **tags}) as parent:
            mlflow.log_params(_flat(json.loads(case["spec"])))
            mlflow.log_text(case["spec"], _SPEC)
            client.log_inputs(parent.info.run_id, [each.entity for each in inputs])
            mlflow.log_artifact(str(layout.report(case_id)))
            for name, figure in figures.items():
                mlflow.log_figure(figure, f"figures/{name}.png")
            _log_methods(layout, case_id, experiment_id, metrics, common_tags, progress)
            if repaired is not None:
                log_model(repaired, tests, "repaired_model")
            return {"experiment_id": experiment_id, "run_id": parent.info.run_id}


def _log_methods(
    layout: Layout,
    case_id: str,
    experiment_id: str,
    metrics: Mapping[str, float],
    common_tags: dict[str, str],
    progress: Progress,
) -> None:
    """Log the metrics of the active run, and a child run for each influence method and each treated model."""
    detection, recovery = (_rows(layout, table, case_id) for table in ("detection", "recovery"))
    aucs = {f"{row['method']}_auc": row["auc"] for row in detection if row["auc"] is not None}
    mlflow.log_metrics({**aucs, **metrics})
    children = len(detection) + len(recovery)

    def child(name: str) -> ActiveRun:
        return mlflow.start_run(experiment_id=experiment_id, run_name=name, nested=True, tags=common_tags)

    for done, row in enumerate(detection, start=1):
        with child(f"influence: {row['method']}"):
            mlflow.log_params(
                {
                    "step": "influence",
                    "failure_group": row["failure_group"],
                    "influence_method": row["method"],
                    "converged": row["converged"],
                }
            )
            mlflow.log_metrics(_numbers(row))
        progress(done, children)
    for done, row in enumerate(recovery, start=len(detection) + 1):
        name = " → ".join(filter(None, (row["influence_method"], row["treatment"])))
        with child(f"repair: {name} ({row['removed']} removed)"):
            keys = ("failure_group", "influence_method", "treatment", "setting", "gamma", "removed", "chosen")
            mlflow.log_params({"step": "repair", **{key: row[key] for key in keys}})
            mlflow.log_metrics(_numbers({key: value for key, value in row.items() if key not in keys}))
        progress(done, children)


@dataclass(frozen=True)
class Tracked:
    """What an MLflow run stores about its case."""

    spec: object
    """The resolved spec as plain values, as it was logged and not validated."""
    case_id: str
    base_id: str
    fingerprint: str


def tracked(layout: Layout, run_id: str) -> Tracked:
    """The case of a run that ``track`` logged.

    Args:
        layout: where MLflow's store is.
        run_id: id of a parent or a child run.

    Raises:
        InputError: there is no such run, or it does not belong to a case.
    """
    if not has_store(layout):
        raise InputError(f"there is no MLflow run {run_id!r}, as {layout.mlflow} has no runs at all: set REPAIR_HOME")
    with using(layout) as client:
        try:
            run = client.get_run(run_id)
            run = client.get_run(run.data.tags.get("mlflow.parentRunId", run_id))
        except mlflow.MlflowException as error:
            where = masked(tracking_uri(layout))
            raise InputError(
                f"there is no MLflow run {run_id!r} in {where}: copy the id from its page, see repair ui"
            ) from error
        tags = run.data.tags
        if {CASE_TAG, _BASE, _FINGERPRINT} - tags.keys() or _SPEC not in [
            file.path for file in client.list_artifacts(run.info.run_id)
        ]:
            raise InputError(
                f"the MLflow run {run_id!r} has no {_SPEC}, so it does not belong to a case: give the run of a case"
            )
        text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{_SPEC}")
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{_SPEC} of the MLflow run {run_id!r} is not JSON ({error}): give another run") from error
    return Tracked(spec, tags[CASE_TAG], tags[_BASE], tags[_FINGERPRINT])


def _experiment(layout: Layout) -> str:
    """Id of the experiment, which is created if missing. If another process creates it first, its id is used."""
    name = read_settings().mlflow_experiment
    existing = mlflow.get_experiment_by_name(name)
    if existing is None:
        # A server decides itself where artifacts are stored. For a database, MLflow would take the current folder.
        location = None if is_server(tracking_uri(layout)) else (layout.mlflow / "artifacts").as_uri()
        try:
            return mlflow.create_experiment(name, artifact_location=location)
        except mlflow.MlflowException:
            existing = mlflow.get_experiment_by_name(name)
            if existing is None:
                raise
    if existing.lifecycle_stage == "deleted":
        raise InputError(f"the MLflow experiment {name!r} is deleted: restore it, or set REPAIR_MLFLOW_EXPERIMENT")
    return str(existing.experiment_id)


def log_model(model: nn.Module, tests: Examples, name: str, **more: Any) -> ModelInfo:
    """Log a model to the active run in MLflow's format for serving (pt2, no pickle).

    If torch.export cannot export the model, or its inputs are several tensors, which MLflow does not export, only its
    weights are logged, with a warning.

    Args:
        model: the model.
        tests: rows with the shape of its input, for its signature.
        name: of the model within the run.
        **more: ``extra_files`` and ``metadata`` of ``mlflow.pytorch.log_model``.

    Raises:
        OSError: the folder of temporary files has no room for it.
    """
    inputs = tests[:2].inputs
    arrays = {key: part.numpy() for key, part in tensors_of(inputs).items()}
    example = arrays if isinstance(inputs, NamedTensors) else arrays[""]
    # Where torch.export finds no room, it aborts the process.
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    require_room(Path(gettempdir()), _COPIES * size + _PROGRAM)
    # torch.export warns about channels-last tensors, which it cannot distinguish from views.
    model = copied(model).cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        signature = infer_signature(example, model(inputs).numpy())
    if isinstance(inputs, NamedTensors):
        _warn_weights_only(SEVERAL_TENSORS)
        return log_weights(model, name, signature, **more)
    try:
        with quiet_export():
            return mlflow.pytorch.log_model(
                model,
                name=name,
                input_example=example,
                signature=signature,
                pip_requirements=_REQUIREMENTS,  # without them MLflow loads the model in another process to infer them
                **more,
            )
    except (mlflow.MlflowException, OSError):
        raise
    except Exception as error:  # torch.export raises whatever the model's code raises
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        _warn_weights_only(f"torch.export fails ({why})")
        return log_weights(model, name, signature, **more)


@cache
def _warn_weights_only(reason: str) -> None:
    log.warning("MLflow gets only the weights of the model and cannot serve it: %s", reason)


def git_sha() -> str | None:
    """The commit of the running code, with ``-dirty`` if the code has changed since; None outside its checkout.

    The environment may be installed inside another checkout, so this file must be tracked by the checkout.
    """
    code = Path(__file__)
    try:
        _git(code.parent, "ls-files", "--error-unmatch", code.name)
        return _git(code.parent, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    except (FileNotFoundError, subprocess.CalledProcessError):  # FileNotFoundError: git is not installed
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _rows(layout: Layout, table: str, case_id: str) -> list[dict[str, Any]]:
    return read_parquet(layout.table(table, case_id))[0].to_pylist()


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    # Booleans are logged as parameters: they are no use as metrics in a chart.
    return {key: float(value) for key, value in row.items() if type(value) in (int, float)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat
