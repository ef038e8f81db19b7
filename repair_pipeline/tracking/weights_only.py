"""Logs only the weights of a model to MLflow, for models that torch.export cannot export."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from mlflow.models import Model, ModelSignature  # after tracking.runs, which switches its telemetry off
from mlflow.models.model import ModelInfo
from torch import nn

from repair_pipeline.influence.external import own_logging
from repair_pipeline.models.copying import copied
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.storage.files import write_tensors
from repair_pipeline.types import Examples

SEVERAL_TENSORS = "MLflow exports models of one input tensor, and this one has several"
_FLAVOUR, _FOLDER = "safetensors", "extra_files"


@contextmanager
def quiet_export() -> Iterator[None]:
    """Suppress what torch.export prints and logs (the whole graph) beside the error that it raises.

    Also undo the change to the root logger that importing mlflow.pytorch makes, which would silence our warnings.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with own_logging(), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def log_weights(
    model: nn.Module, name: str, signature: ModelSignature, extra_files: Sequence[str] = (), **more: Any
) -> ModelInfo:
    """Log the weights of a model to the active run, as a safetensors file where the registry expects it.

    Args:
        model: the model.
        name: of the model within the run.
        signature: of the model's input and output.
        extra_files: safetensors files to log; if there are none, the model's own state is written.
        **more: for ``mlflow.models.Model.log``.
    """

    class Flavour:
        """A flavour for ``mlflow.models.Model.log``: it writes the folder of a model."""

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


def not_exported(model: nn.Module, rows: Examples) -> str | None:
    """Why MLflow cannot export the model; None if it can.

    Args:
        model: the model.
        rows: examples of its input.
    """
    example = rows[:2].inputs.cpu()
    if isinstance(example, NamedTensors):
        return SEVERAL_TENSORS
    any_batch_size = {0: torch.export.Dim.AUTO}
    try:
        with quiet_export():
            torch.export.export(copied(model).cpu().eval(), (example,), dynamic_shapes=(any_batch_size,))
    except Exception as error:  # torch.export raises whatever the model's code raises
        why = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        return f"torch.export fails ({why})"
    return None
