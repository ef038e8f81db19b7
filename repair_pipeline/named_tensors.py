"""Inputs of several named tensors, for models that take more than one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree


@dataclass(frozen=True, eq=False)
class NamedTensors:
    """Several tensors with one row an example each, such as token ids and their attention mask.

    It offers those of a tensor's methods that are used of inputs, each applied to all parts. It is a pytree, so
    ``torch.func`` transforms take it. The tensordict library has such a class, but takes seconds to import
    (``docs/adr/0030``).
    """

    parts: Mapping[str, Tensor]
    """By the name of the model's argument. Names that are numbers stand for positions: ``0``, ``1``, …"""

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> NamedTensors:
        return self.each(lambda part: part[rows])

    def each(self, function: Callable[[Tensor], Tensor]) -> NamedTensors:
        """The same names with ``function`` of each part."""
        return NamedTensors({name: function(part) for name, part in self.parts.items()})

    def to(self, target: torch.device | torch.dtype | str) -> NamedTensors:
        """On a device; or with the parts of floating point, and only these, in another precision."""
        if isinstance(target, torch.dtype):
            return self.each(lambda part: part.to(target) if part.is_floating_point() else part)
        return self.each(lambda part: part.to(target))

    def cpu(self) -> NamedTensors:
        """In the memory of the CPU."""
        return self.to("cpu")

    def split(self, size: int) -> list[NamedTensors]:
        """Consecutive batches of ``size`` rows; the last may be smaller."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def rows(self) -> list[dict[str, Tensor]]:
        """Each row by itself: its tensors by name, as a ``DataLoader`` collates them."""
        return [{name: part[at] for name, part in self.parts.items()} for at in range(len(self))]

    def is_floating_point(self) -> bool:
        """Whether all parts are of floating point."""
        return all(part.is_floating_point() for part in self.parts.values())

    @property
    def shape(self) -> torch.Size:
        """The number of rows; the parts have shapes of their own."""
        return torch.Size([len(self)])

    @property
    def device(self) -> torch.device:
        """The device of the first part."""
        return next(iter(self.parts.values())).device

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        return sum(part.nbytes for part in self.parts.values())

    @property
    def arguments(self) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The parts as arguments of a call: those at positions, and those with names."""
        at = [part for name, part in self.parts.items() if name.isdigit()]
        return tuple(at), {name: part for name, part in self.parts.items() if not name.isdigit()}


Batch = Tensor | NamedTensors
"""Inputs of n examples."""


def tensors_of(inputs: Batch) -> dict[str, Tensor]:
    """The tensors of which inputs consist, by name; a single one has the name ``""``."""
    return dict(inputs.parts) if isinstance(inputs, NamedTensors) else {"": inputs}


def joined(batches: Sequence[Batch]) -> Batch:
    """All of ``batches``, one after the other.

    Args:
        batches: at least one, all of the same names and row shapes.
    """
    first = batches[0]
    if isinstance(first, NamedTensors):
        return NamedTensors({name: torch.cat([tensors_of(batch)[name] for batch in batches]) for name in first.parts})
    return torch.cat([batch for batch in batches if isinstance(batch, Tensor)])


def _flatten(inputs: NamedTensors) -> tuple[list[Tensor], list[str]]:
    return list(inputs.parts.values()), list(inputs.parts)


def _unflatten(parts: Any, names: list[str]) -> NamedTensors:
    return NamedTensors(dict(zip(names, parts, strict=True)))


_pytree.register_pytree_node(
    NamedTensors, _flatten, _unflatten, serialized_type_name="repair_pipeline.named_tensors.NamedTensors"
)
