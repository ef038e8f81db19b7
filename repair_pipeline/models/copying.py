"""A model's copy, whatever its modules keep."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

Model = TypeVar("Model", bound=nn.Module)


def copied(model: Model) -> Model:
    """A deep copy of ``model`` that shares no tensor with it.

    torch copies no tensor that was computed from others that require a gradient. Modules keep such tensors as
    attributes: the weight that ``nn.utils.weight_norm`` computes, an activation that was stored in a forward pass. The
    copy has their values, detached. What a torch.func transform left behind in one is unwrapped first.
    """
    values = {id(tensor): debug_unwrap(tensor).detach().clone() for tensor in _computed(model)}
    with torch.no_grad():  # or the copy of a scripted model's parameters is computed too
        copy_of = copy.deepcopy(model, values)
    for parameter, like in zip(copy_of.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(like.requires_grad)
    return copy_of


def _computed(model: nn.Module) -> Iterator[Tensor]:
    """Every tensor that the modules hold and deepcopy refuses, or that is the wrapper of a transform that is over."""
    stack: list[Any] = [model]
    seen: set[int] = set()
    while stack:
        held = stack.pop()
        if id(held) in seen:
            continue
        seen.add(id(held))
        if isinstance(held, Tensor):
            # Not by is_leaf, which fails on a view of what has changed since: an LSTM keeps such views of lent weights.
            if (held.requires_grad and not isinstance(held, nn.Parameter)) or debug_unwrap(held) is not held:
                yield held
        elif isinstance(held, Mapping):
            stack += held.values()
        elif isinstance(held, list | tuple | set | frozenset):
            stack += held
        elif hasattr(held, "__dict__") and not isinstance(held, type):
            stack += vars(held).values()
