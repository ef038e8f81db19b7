"""Copying models whose modules hold tensors that ``copy.deepcopy`` refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

from repair_pipeline.errors import InputError, one_line

Model = TypeVar("Model", bound=nn.Module)


def copied(model: Model) -> Model:
    """A deep copy of ``model`` that shares no tensor with it.

    ``copy.deepcopy`` refuses tensors that were computed from tensors with gradients. Modules hold some as attributes:
    the weight that ``nn.utils.weight_norm`` computes, or an activation stored in a forward pass. The copy has their
    values, detached. Wrappers left by a torch.func transform are removed.

    Raises:
        InputError: a module holds something that cannot be copied, such as a lock or an open file.
    """
    values = {id(tensor): debug_unwrap(tensor).detach().clone() for tensor in _computed(model)}
    try:
        with torch.no_grad():  # else the copied parameters of a scripted model would not be leaves
            duplicate = copy.deepcopy(model, values)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"the model {type(model).__name__} cannot be copied ({one_line(error)}): make the attribute that cannot "
            "when it is used, not in __init__"
        ) from error
    for parameter, original in zip(duplicate.parameters(), model.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return duplicate


def _computed(model: nn.Module) -> Iterator[Tensor]:
    """The tensors in the modules that deepcopy refuses, or that are wrappers of a finished transform."""
    stack: list[Any] = [model]
    seen: set[int] = set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            # Not is_leaf: it fails on a view whose base was changed since, and an LSTM holds such views of its weights.
            if (item.requires_grad and not isinstance(item, nn.Parameter)) or debug_unwrap(item) is not item:
                yield item
        elif isinstance(item, Mapping):
            stack += item.values()
        elif isinstance(item, list | tuple | set | frozenset):
            stack += item
        elif hasattr(item, "__dict__") and not isinstance(item, type):
            stack += vars(item).values()
