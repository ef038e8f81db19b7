"""A finished case as MLflow runs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import Examples

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
import mlflow
from mlflow.models import ModelSignature, infer_signature

EXPERIMENT = "repair_pipeline"


def tracking_uri(layout: Layout) -> str:
    """The sqlite store below the results' home."""
    return f"sqlite:///{layout.mlflow / 'mlflow.db'}"


def run_url(run: Mapping[str, str], port: int = 5000) -> str:
    """Where MLflow's page shows a run that ``track`` returned."""
    path = f"experiments/{run['experiment_id']}/runs/{run['run_id']}"
    return f"http://127.0.0.1:{port}/#/{path}?workflowType=machine_learning"  # else its sidebar is for language models


def track(
    layout: Layout, case_id: str, repaired: nn.Module | None, tests: Examples, figures: Mapping[str, Figure]
) -> dict[str, str]:
    """Log a case from its tables: spec, code, data, metrics, figures, the report and the repaired model.

    Args:
        repaired: the model to publish, None where no repair was made.
        tests: rows that show the model's input.
        figures: pictures by name.

    Returns:
        ``experiment_id`` and ``run_id`` of the parent run.
    """
    case = _rows(layout, "cases", case_id)[0]
    layout.mlflow.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(tracking_uri(layout))
    experiment_id = _experiment(layout)
    tags = {
        "repair.case_id": case_id,
        "repair.base_id": case["base_id"],
        "repair.fingerprint": case["fingerprint"],
        "repair.git_sha": git_sha() or "not a git checkout",
    }
    with mlflow.start_run(experiment_id=experiment_id, run_name=case_id, tags=tags) as parent:
        mlflow.log_params(_flat(json.loads(case["spec"])))
        mlflow.log_text(case["spec"], "spec.json")
        mlflow.log_artifact(str(layout.report(case_id)))
        for name, figure in figures.items():
            mlflow.log_figure(figure, f"figures/{name}.png")
        detection = _rows(layout, "detection", case_id)
        mlflow.log_metrics({f"{row['method']}_auc": row["auc"] for row in detection if row["auc"] is not None})
        for row in detection:
            with mlflow.start_run(
                run_name=f"influence: {row['method']}", nested=True, experiment_id=experiment_id, tags=tags
            ):
                mlflow.log_params({"step": "influence", "influence_method": row["method"]})
                mlflow.log_metrics(_numbers(row))
        for row in _rows(layout, "recovery", case_id):
            name = " → ".join(filter(None, (row["influence_method"], row["treatment"])))
            with mlflow.start_run(
                run_name=f"repair: {name} ({row['removed']} removed)",
                nested=True,
                experiment_id=experiment_id,
                tags=tags,
            ):
                text = ("influence_method", "treatment", "setting", "gamma", "removed")
                mlflow.log_params({"step": "repair", **{key: row[key] for key in text}})
                mlflow.log_metrics(_numbers({key: value for key, value in row.items() if key not in text}))
        if repaired is not None:
            _publish(repaired, tests)
        return {"experiment_id": experiment_id, "run_id": parent.info.run_id}


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


def _publish(model: nn.Module, tests: Examples) -> None:
    """MLflow's own format (pt2, no pickle), for serving; the working artifact is the safetensors file."""
    model, example, signature = exported(model, tests)
    mlflow.pytorch.log_model(model, name="repaired_model", input_example=example, signature=signature)


def exported(model: nn.Module, tests: Examples) -> tuple[nn.Module, NDArray[np.float32], ModelSignature]:
    """The model as MLflow exports it, with an example of its input and its signature."""
    example = tests.inputs[:2]
    # The export cannot tell a tensor with its channels last from a part of one, and says so in a warning.
    model = model.cpu().eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        signature = infer_signature(example.numpy(), model(example).numpy())
    return model, example.numpy(), signature


def git_sha() -> str | None:
    """The commit of the code that runs, or None outside a checkout."""
    here = Path(__file__).parent
    found = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _rows(layout: Layout, table: str, case_id: str) -> list[dict[str, Any]]:
    return read_parquet(layout.table(table, case_id))[0].to_pylist()


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in row.items() if isinstance(value, (int, float))}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat
