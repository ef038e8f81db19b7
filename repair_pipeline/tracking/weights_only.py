"""A model in MLflow as its weights alone, for models that torch.export cannot export."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow.models import Model, ModelSignature  # after tracking.runs, which switches its telemetry off
from mlflow.models.model import ModelInfo
from torch import nn

from repair_pipeline.storage.files import write_tensors

_FLAVOUR, _FOLDER = "safetensors", "extra_files"


def log_weights(
    model: nn.Module, name: str, signature: ModelSignature, extra_files: Sequence[str] = (), **more: Any
) -> ModelInfo:
    """Log the weights of a model of the active run: a safetensors file where the registry looks for one, no program.

    Args:
        extra_files: safetensors files to log as they are; without any the model's own state is written.
        more: for ``mlflow.models.Model.log``.
    """

    class Flavour:
        """What ``mlflow.models.Model.log`` calls a flavour: somebody who writes a model's folder."""

        @staticmethod
        def save_model(path: str, mlflow_model: Model, signature: ModelSignature) -> None:
            folder = Path(path) / _FOLDER
            folder.mkdir(parents=True)
            for file in extra_files:
                shutil.copy(file, folder)
            if not extra_files:
                write_tensors(folder / "weights.safetensors", model.state_dict(), {})
            mlflow_model.signature = signature
            mlflow_model.add_flavor(_FLAVOUR, weights=_FOLDER)
            mlflow_model.save(str(Path(path) / "MLmodel"))

    return Model.log(artifact_path=None, name=name, flavor=Flavour, signature=signature, **more)
