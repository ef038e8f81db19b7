"""User models: construction, trained weights, and the choice of adapted parameters."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.models.pretrained import adapter_weights
from repair_pipeline.models.weight_names import by_the_models_names

Adapted = Literal["all", "last_layer", "last_block"] | tuple[str, ...]
"""Which parameters are adapted: one of these, or shell-style patterns of parameter names."""


def user_model(factory: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    """The untrained model returned by ``package.module:function``.

    Args:
        factory: ``package.module:function``.
        arguments: keyword arguments of the function.
        folder: searched for the module first.

    Raises:
        InputError: there is no such function, it fails, or it does not return a ``torch.nn.Module``.
    """
    make = entry_point("model.factory", factory, folder)
    try:
        model = make(**arguments)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"model.factory {factory} fails ({why}): fix it, or set model.arguments") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model.factory {factory} returns a {type(model).__name__}: return a torch.nn.Module")
    return model


def torchvision_model(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained torchvision architecture.

    Args:
        name: as ``torchvision.models.list_models`` gives it.
        classes: number of outputs.
        arguments: further keyword arguments of the architecture.

    Raises:
        InputError: torchvision has no such model, or does not accept the arguments.
    """
    import torchvision  # imported here: it takes seconds, and most commands do not need it

    known = torchvision.models.list_models()
    if name not in known:
        similar = ", ".join(difflib.get_close_matches(name, known, n=3) or ["resnet18"])
        raise InputError(f"model.torchvision is {name!r}, which torchvision does not have: did you mean {similar}?")
    try:
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)
    except TypeError as error:
        raise InputError(f"model.torchvision {name} with model.arguments {dict(arguments)}: {error}") from error


def freeze(model: nn.Module, adapted: Adapted) -> nn.Module:
    """Freeze every parameter that is not adapted; in place. Frozen parameters stay frozen.

    ``last_layer``: the last module, in order of definition, with parameters of its own: the head. ``last_block``: the
    last two children with parameters (of torchvision's resnet18: layer4 and fc); if a single child has all parameters,
    that child's last two children, and so on.

    Raises:
        InputError: no adapted parameter requires a gradient.
    """
    if adapted == "all":
        chosen = {name for name, _ in model.named_parameters()}
    elif adapted == "last_layer":
        owners = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
        chosen = _names(model, owners[-1:])
    elif adapted == "last_block":
        block = model
        while len(owners := [child for child in block.children() if next(child.parameters(), None) is not None]) == 1:
            block = owners[0]
        chosen = _names(model, owners[-2:] or [block])
    else:
        names = [name for name, _ in model.named_parameters()]
        chosen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in adapted)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        last = ", ".join(name for name, _ in list(model.named_parameters())[-4:])
        raise InputError(
            f"parameters is {adapted!r}, which leaves no parameter that requires a gradient: the last are {last}"
        )
    return model


def _names(model: nn.Module, modules: list[nn.Module]) -> set[str]:
    selected = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in selected}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load trained weights into the model, all of them; in place. Name prefixes of wrappers are removed.

    Args:
        model: the model to fill.
        tensors: the weights by name.
        where: what the weights were read from, for error messages.

    Raises:
        InputError: a tensor is missing, unknown, present under two prefixes, or of another shape.
    """
    weights = by_the_models_names(model, adapter_weights(model, tensors), where)
    for name, tensor in model.state_dict().items():
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"{where} has {name!r} of shape {tuple(weights[name].shape)}, the model's is {tuple(tensor.shape)}: "
                "give the weights of this architecture, for as many classes as the data have"
            )
    model.load_state_dict(weights)
