"""The user's trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from repair_pipeline.cases.sources import UserModel
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.registry import resolve


def pinned(spec: CaseSpec, layout: Layout) -> CaseSpec:
    """The case with its model alias resolved to today's version, and with that version's architecture.

    Raises:
        InputError: the registry has no such model, or does not know its architecture and the case says none.
    """
    model = spec.model
    if not isinstance(model, UserModel) or not model.registered:
        return spec
    uri, _, architecture = resolve(layout, str(model.weights))
    if not (model.factory or model.torchvision or model.transformers):
        if architecture is None:
            raise InputError(f"{model.weights} does not say its architecture: give model.factory beside weights")
        known = ("factory", "torchvision", "transformers", "lora", "arguments")
        model = UserModel(**{key: architecture[key] for key in known if key in architecture})
    return replace(spec, model=replace(model, weights=uri))


def weights_path(spec: CaseSpec, layout: Layout) -> Path | None:
    """The path of the trained weights; None where the model is trained by the pipeline."""
    model = spec.model
    if not isinstance(model, UserModel) or model.weights is None:
        return None
    return resolve(layout, model.weights)[1] if model.registered else spec.root / model.weights


def read_file(path: Path, key: str = "model.weights") -> Mapping[str, Tensor]:
    """The tensors of a user's safetensors file.

    Args:
        key: what names the file, for messages.

    Raises:
        InputError: it is not there, or is no safetensors file.
    """
    try:
        return load_file(path)
    except OSError as error:
        raise InputError(f"{key} is {str(path)!r}, which cannot be read: give its path") from error
    except SafetensorError as error:
        raise InputError(
            f"{key} is {str(path)!r}, which is no safetensors file ({error}): "
            "save it by safetensors.torch.save_model(model, ...)"
        ) from error
