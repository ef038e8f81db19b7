"""Somebody's own classifier, and which of its parameters are adapted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError
from repair_pipeline.models.weight_names import by_the_models_names

Adapted = Literal["all", "last_layer", "last_block"] | tuple[str, ...]
"""Which parameters are adapted: one of these, or patterns of names as in a shell."""


def user_model(factory: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    """The untrained model that ``package.module:function`` makes; modules of ``folder`` are found.

    Raises:
        InputError: there is no such function, it fails, or it gives no ``torch.nn.Module``.
    """
    make = entry_point("model.factory", factory, folder)
    try:
        model = make(**arguments)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"model.factory {factory} fails ({why}): mend it, or give model.arguments") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"model.factory {factory} gives a {type(model).__name__}: return a torch.nn.Module")
    return model


def torchvision_model(name: str, classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained architecture of torchvision.

    Raises:
        InputError: torchvision has none of that name, or does not take the arguments.
    """
    import torchvision  # here: it takes seconds, and most commands do without

    known = torchvision.models.list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["resnet18"]
        raise InputError(f"model.torchvision is {name!r}, which torchvision has not: did you mean {', '.join(near)}?")
    try:
        return torchvision.models.get_model(name, weights=None, num_classes=classes, **arguments)
    except TypeError as error:
        raise InputError(f"model.torchvision {name} with model.arguments {dict(arguments)}: {error}") from error


def freeze(model: nn.Module, adapted: Adapted) -> nn.Module:
    """Let only the chosen parameters require a gradient, of those that do already; in place.

    ``last_layer``: those of the last module, in the order of definition, that owns any: the head. ``last_block``: the
    last two children that hold any (of torchvision's resnet18 layer4 and fc); where a single child holds all of them,
    its last two children, and so on.

    Raises:
        InputError: no parameter is left.
    """
    if adapted == "all":
        chosen = {name for name, _ in model.named_parameters()}
    elif adapted == "last_layer":
        owners = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
        chosen = _names(model, owners[-1:])
    elif adapted == "last_block":
        at = model
        while len(holders := [child for child in at.children() if next(child.parameters(), None) is not None]) == 1:
            at = holders[0]
        chosen = _names(model, holders[-2:] or [at])
    else:
        names = [name for name, _ in model.named_parameters()]
        chosen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in adapted)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        some = ", ".join(name for name, _ in list(model.named_parameters())[-4:])
        raise InputError(
            f"parameters is {adapted!r} and leaves no parameter that requires a gradient: there are {some}"
        )
    return model


def _names(model: nn.Module, modules: list[nn.Module]) -> set[str]:
    own = {id(parameter) for module in modules for parameter in module.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Fill the model with trained weights, all of them; in place. A prefix of their names is no hindrance.

    Raises:
        InputError: a tensor is missing, not known, there under two prefixes, or of another shape.
    """
    found = by_the_models_names(model, tensors, where)
    for name, tensor in model.state_dict().items():
        if found[name].shape != tensor.shape:
            raise InputError(
                f"{where} holds {name!r} of shape {tuple(found[name].shape)}, the model's is {tuple(tensor.shape)}: "
                "give the weights of this architecture, for as many classes as the data have"
            )
    model.load_state_dict(found)
