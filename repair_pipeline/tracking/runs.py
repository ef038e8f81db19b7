"""A finished case as MLflow runs."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.models.copying import copied
from repair_pipeline.settings import read_settings
from repair_pipeline.storage.addresses import addressable
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import locked
from repair_pipeline.types import Examples, Progress, silent

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
import mlflow
from mlflow import ActiveRun, MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.models import infer_signature
from mlflow.models.model import ModelInfo

from repair_pipeline.tracking.weights_only import log_weights, quiet_export

log = logging.getLogger(__name__)

EXPERIMENT = "repair_pipeline"
_CASE, _BASE, _FINGERPRINT = "repair.case_id", "repair.base_id", "repair.fingerprint"
_SPEC = "spec.json"
_NEEDED = [f"{package}=={version(package)}" for package in ("torch", "numpy")]


def tracking_uri(layout: Layout) -> str:
    """The sqlite store below the results' home."""
    return f"sqlite:///{addressable(layout.mlflow) / 'mlflow.db'}"


def open_store(layout: Layout) -> MlflowClient:
    """MLflow's store, made where it is not there; a second process waits until it is whole."""
    layout.mlflow.mkdir(parents=True, exist_ok=True)
    _make_whole(layout)
    return MlflowClient(tracking_uri(layout))


@cache
def _make_whole(layout: Layout) -> None:
    for name in ("mlflow", "alembic"):  # which say there what they do
        logging.getLogger(name).setLevel(logging.WARNING)
    with locked(layout.mlflow / ".mlflow.db.lock", layout.mlflow / "mlflow.db"):
        # MLflow makes its tables, the default experiment and the registry as each is first asked for.
        client = MlflowClient(tracking_uri(layout))
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)


def run_url(run: Mapping[str, str]) -> str:
    """Where MLflow's page shows a run that ``track`` returned."""
    return _page(f"experiments/{run['experiment_id']}/runs/{run['run_id']}")


def model_url(name: str, version: int) -> str:
    """Where MLflow's page shows a version of a registered model."""
    return _page(f"models/{name}/versions/{version}")


def _page(path: str) -> str:
    port = read_settings().mlflow_port
    return f"http://127.0.0.1:{port}/#/{path}?workflowType=machine_learning"  # else its sidebar is for language models


@dataclass(frozen=True)
class Input:
    """Files that a case was made from, as MLflow lists them."""

    context: str
    """What they are to it: the key of the case that names them."""
    name: str
    digest: str
    source: str
    """The file or folder that they lie in."""

    @property
    def entity(self) -> DatasetInput:
        """As MLflow stores it."""
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
    """Log a case from its tables: spec, code, data, metrics, figures, the report and the repaired model.

    The case is the parent run, with the numbers of the repair that is judged. Each method and each repaired model is a
    child, whose metrics have the names of the tables' columns, as the parent's have: what shares a name is compared.

    Args:
        inputs: what the case was made from.
        repaired: the model to publish, None where no repair was made.
        tests: rows that show the model's input.
        figures: pictures by name.
        metrics: of the case, by the names of the tables' columns.
        tags: of the case.

    Returns:
        ``experiment_id`` and ``run_id`` of the parent run.
    """
    case = _rows(layout, "cases", case_id)[0]
    client = open_store(layout)
    mlflow.set_tracking_uri(tracking_uri(layout))
    experiment_id = _experiment(layout)
    every = {
        _CASE: case_id,
        _BASE: case["base_id"],
        _FINGERPRINT: case["fingerprint"],
        "repair.git_sha": git_sha() or "not a git checkout",
        "repair.versions": ", ".join(f"{name} {version(name)}" for name in ("repair_pipeline", "torch", "numpy")),
        "repair.device": ", ".join(sorted({row["device"] for row in _rows(layout, "timings", case_id)})),
    }

    def child(name: str) -> ActiveRun:
        return mlflow.start_run(run_name=name, nested=True, experiment_id=experiment_id, tags=every)

    with mlflow.start_run(experiment_id=experiment_id, run_name=case_id, tags={**every, **tags}) as parent:
        mlflow.log_params(_flat(json.loads(case["spec"])))
        mlflow.log_text(case["spec"], _SPEC)
        client.log_inputs(parent.info.run_id, [each.entity for each in inputs])
        mlflow.log_artifact(str(layout.report(case_id)))
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"figures/{name}.png")
        detection, recovery = (_rows(layout, table, case_id) for table in ("detection", "recovery"))
        found = {f"{row['method']}_auc": row["auc"] for row in detection if row["auc"] is not None}
        mlflow.log_metrics({**found, **metrics})
        children = len(detection) + len(recovery)
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
                text = ("failure_group", "influence_method", "treatment", "setting", "gamma", "removed", "chosen")
                mlflow.log_params({"step": "repair", **{key: row[key] for key in text}})
                mlflow.log_metrics(_numbers({key: value for key, value in row.items() if key not in text}))
            progress(done, children)
        if repaired is not None:
            log_model(repaired, tests, "repaired_model")
        return {"experiment_id": experiment_id, "run_id": parent.info.run_id}


@dataclass(frozen=True)
class Tracked:
    """What a run says of the case that it is of."""

    spec: object
    """The resolved spec's plain values, as they were logged: whoever uses them validates them."""
    case_id: str
    base_id: str
    fingerprint: str


def tracked(layout: Layout, run_id: str) -> Tracked:
    """The case of a run that ``track`` logged, be it the parent or a child.

    Raises:
        InputError: there is no such run, or it is none of a case.
    """
    if not (layout.mlflow / "mlflow.db").exists():  # which asking would make
        raise InputError(f"there is no MLflow run {run_id!r}, nor any other below {layout.mlflow}: set REPAIR_HOME")
    client = open_store(layout)
    mlflow.set_tracking_uri(tracking_uri(layout))
    try:
        run = client.get_run(run_id)
        run = client.get_run(run.data.tags.get("mlflow.parentRunId", run_id))
    except mlflow.MlflowException as error:
        raise InputError(f"there is no MLflow run {run_id!r}: copy the id from its page, see repair ui") from error
    tags = run.data.tags
    if {_CASE, _BASE, _FINGERPRINT} - tags.keys() or _SPEC not in [
        file.path for file in client.list_artifacts(run.info.run_id)
    ]:
        raise InputError(f"the MLflow run {run_id!r} has no {_SPEC}, so it is none of a case: give the run of a case")
    said = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{_SPEC}")
    try:
        spec = json.loads(said)
    except json.JSONDecodeError as error:
        raise InputError(f"{_SPEC} of the MLflow run {run_id!r} is not JSON ({error}): give another run") from error
    return Tracked(spec, tags[_CASE], tags[_BASE], tags[_FINGERPRINT])


def _experiment(layout: Layout) -> str:
    """The experiment's id. Creating one races between processes, so whoever loses takes the winner's."""
    existing = mlflow.get_experiment_by_name(EXPERIMENT)
    if existing is None:
        try:
            return mlflow.create_experiment(EXPERIMENT, artifact_location=(layout.mlflow / "artifacts").as_uri())
        except mlflow.MlflowException:
            existing = mlflow.get_experiment_by_name(EXPERIMENT)
            if existing is None:
                raise
    return str(existing.experiment_id)


def log_model(model: nn.Module, tests: Examples, name: str, **more: Any) -> ModelInfo:
    """Log a model of the active run in MLflow's own format (pt2, no pickle), for serving.

    Where torch.export cannot export the model, its weights are logged alone, and a warning says so.

    Args:
        tests: rows that show its input.
        more: ``extra_files`` and ``metadata`` of ``mlflow.pytorch.log_model``.
    """
    example = tests[:2].inputs
    # The export cannot tell a tensor with its channels last from a part of one, and says so in a warning.
    model = copied(model).cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        signature = infer_signature(example.numpy(), model(example).numpy())
    try:
        with quiet_export():
            return mlflow.pytorch.log_model(
                model,
                name=name,
                input_example=example.numpy(),
                signature=signature,
                pip_requirements=_NEEDED,  # MLflow would load the model in another process to find out
                **more,
            )
    except (mlflow.MlflowException, OSError):
        raise
    except Exception as error:  # the exporter has no error of its own: it raises what it met in the model's code
        _say_weights_only(" ".join(f"{type(error).__name__}: {error}".split())[:160])
        return log_weights(model, name, signature, **more)


@cache
def _say_weights_only(why: str) -> None:
    log.warning("MLflow gets the model's weights alone, no program to serve: torch.export fails (%s)", why)


def git_sha() -> str | None:
    """The commit of the code that runs, with ``-dirty`` where the code has changed since; None outside its checkout.

    An environment may lie inside a checkout of something else, which does not track this file.
    """
    code = Path(__file__)
    try:
        _git(code.parent, "ls-files", "--error-unmatch", code.name)
        return _git(code.parent, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    except (FileNotFoundError, subprocess.CalledProcessError):  # the first: there is no git
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _rows(layout: Layout, table: str, case_id: str) -> list[dict[str, Any]]:
    return read_parquet(layout.table(table, case_id))[0].to_pylist()


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    # What is yes or no is compared as a parameter, and is no axis of a chart.
    return {key: float(value) for key, value in row.items() if type(value) in (int, float)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat
