"""Models of the transformers library, read from a local folder, with or without LoRA adapters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.extras import package
from repair_pipeline.types import LabelForm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Lora:
    """Low-rank adapters (Hu et al., 2021), by the peft library. Only they and the head are adapted."""

    rank: PositiveInt = 8
    alpha: PositiveInt = 16
    """The adapters' output is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] | None = None
    """Names, or ends of names, of the linear layers that get adapters; None: peft's choice for the architecture."""


def pretrained_model(
    folder: Path, classes: int, arguments: Mapping[str, Any], lora: Lora | None, form: LabelForm = LabelForm.CLASS
) -> nn.Module:
    """A classifier of texts, tokens or images, or a causal language model, with the weights of a folder.

    What the folder lacks, as a classifier's head, is new.

    Nothing is downloaded, no code in the folder is run, and of its weights only safetensors files are read. Attention
    is computed by plain matrix products, of which all derivatives exist.

    Args:
        folder: as ``save_pretrained`` writes it; without weights, all of them are new.
        classes: number of outputs.
        arguments: further fields of the model's configuration.
        lora: the adapters; None: none.
        form: what a label is, on which the head depends.

    Raises:
        InputError: transformers or peft is not installed, or the folder's model cannot be used.
    """
    transformers = package("transformers", "transformers", "model.transformers")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give model.transformers the folder of a saved model")
    weights = any(folder.glob("*.safetensors"))
    if not weights and (pickled := sorted(folder.glob("*.bin"))):
        raise InputError(
            f"{pickled[0]} is a pickle, which is not read: load the model once and save it with "
            "save_pretrained(..., safe_serialization=True)"
        )
    names = {LabelForm.COMPLETION: "causal language model", LabelForm.TAGS: "classifier of tokens"}
    what = names.get(form, "classifier")
    with _quiet(transformers):
        try:
            own = {"use_cache": False} if form is LabelForm.COMPLETION else {"num_labels": classes}
            config = transformers.AutoConfig.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, **own, **arguments
            )
            factory = _factory(transformers, config, form)
            options = {"attn_implementation": "eager", "trust_remote_code": False}
            if weights:
                model = factory.from_pretrained(
                    str(folder),
                    config=config,
                    local_files_only=True,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,
                    **options,
                )
            else:
                model = factory.from_config(config, **options)
        except Exception as error:  # transformers raises whatever its readers raise
            raise InputError(
                f"model.transformers: {folder} holds no {what} that can be used ({one_line(error)})"
            ) from error
    return _with_adapters(model, lora, form) if lora else model


def _factory(transformers: Any, config: Any, form: LabelForm) -> Any:
    """The transformers class that builds a model of this configuration with the task's head."""
    if form is LabelForm.COMPLETION:
        if type(config) in transformers.AutoModelForCausalLM._model_mapping:
            return transformers.AutoModelForCausalLM
        raise ValueError(f"{type(config).__name__} has no head of a causal language model")
    if form is LabelForm.TAGS:
        if type(config) in transformers.AutoModelForTokenClassification._model_mapping:
            return transformers.AutoModelForTokenClassification
        raise ValueError(f"{type(config).__name__} has no head that classifies tokens")
    for factory in (transformers.AutoModelForSequenceClassification, transformers.AutoModelForImageClassification):
        if type(config) in factory._model_mapping:
            return factory
    raise ValueError(f"{type(config).__name__} has no head that classifies texts or images")


def _with_adapters(model: nn.Module, lora: Lora, form: LabelForm) -> nn.Module:
    peft = package("peft", "transformers", "model.lora")
    linear = sorted({name.split(".")[-1] for name, layer in model.named_modules() if isinstance(layer, nn.Linear)})
    if unknown := [target for target in lora.targets or () if target.split(".")[-1] not in linear]:
        raise InputError(
            f"model.lora: no linear layer of {type(model).__name__} has the name {unknown[0]!r}: set "
            f"model.lora.targets to some of {', '.join(linear)}"
        )
    kinds = peft.TaskType
    settings = peft.LoraConfig(
        # A classifier's head is trained, too.
        task_type={LabelForm.COMPLETION: kinds.CAUSAL_LM, LabelForm.TAGS: kinds.TOKEN_CLS}.get(form, kinds.SEQ_CLS),
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets and list(lora.targets),
    )
    try:
        with warnings.catch_warnings():
            # peft asks for a property of transformers under its former name; a user cannot act on it.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
            return peft.get_peft_model(model, settings)
    except ValueError as error:  # peft has no choice of its own for the architecture
        raise InputError(
            f"model.lora: {one_line(error)}: set model.lora.targets to some of {', '.join(linear)}"
        ) from error


def adapter_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of an adapter file, as peft writes it, under the model's names, beside the model's frozen weights.

    Args:
        model: the model.
        tensors: by name. Other files' tensors, and those for models without adapters, are returned as they are.
    """
    if not hasattr(model, "peft_config") or any(name in tensors for name in _frozen(model)):
        return tensors
    own = model.state_dict()
    renamed = {_name_in(own, name): tensor for name, tensor in tensors.items()}
    return {**{name: own[name] for name in _frozen(model)}, **renamed}


def _frozen(model: nn.Module) -> list[str]:
    adapted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return [name for name in model.state_dict() if name not in adapted]


def _name_in(own: Mapping[str, Tensor], name: str) -> str:
    """The model's name of a tensor of an adapter file, in which the adapter's own name is left out."""
    module, _, kind = name.rpartition(".")
    candidates = (f"{module}.default.{kind}", f"{module}.modules_to_save.default.{kind}")
    return next((each for each in candidates if each in own), name)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Suppress the progress bars and the report of a head that is new, which is meant to be."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        transformers.logging.enable_progress_bar()
