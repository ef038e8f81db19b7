"""Per-sample gradients from what each layer reads and the gradient of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.continual.layers import is_matrix, layer_inputs

Adapted = dict[str, tuple[int, torch.Size]]
"""For each adapted parameter, its place in θ and its shape."""


class LayerGradients:
    """∇_θ of a value of every row, from one forward and one backward pass over all rows.

    Rows do not depend on each other, so the gradient of the sum of their values by a layer's output holds, row by row,
    the gradient of each. The gradient by the layer's weight is its outer product with what the layer read (Goodfellow,
    2015). Supports parameters of linear, 2-D convolution, embedding and layer-normalisation layers, and of batch
    normalisation in eval mode, however often a layer is called and a tensor is shared.

    Args:
        model: in eval mode; hooks are added while gradients are computed.
        adapted: names of the adapted parameters, in θ's order.

    Raises:
        NotImplementedError: an adapted parameter belongs to another kind of layer.
    """

    def __init__(self, model: nn.Module, adapted: list[str]) -> None:
        self._model = model
        parameters: dict[int, str] = {id(value): name for name, value in model.named_parameters()}
        self._places, start = Adapted(), 0
        for name in adapted:
            shape = model.get_parameter(name).shape
            self._places[name] = (start, shape)
            start += shape.numel()
        self._size = start
        self._layers: list[tuple[nn.Module, dict[str, str]]] = []
        for layer in model.modules():
            own = {kind: parameters[id(value)] for kind, value in layer.named_parameters(recurse=False)}
            if wanted := {kind: name for kind, name in own.items() if name in self._places}:
                if not _is_supported(layer):
                    raise NotImplementedError(f"{type(layer).__name__} has parameters of its own")
                self._layers.append((layer, wanted))

    def __call__(self, values: Callable[[], Float[Tensor, " n"]], rows: int, theta: Tensor) -> Float[Tensor, "n p"]:
        """The gradients.

        Args:
            values: runs the model and returns one value a row.
            rows: n.
            theta: gives the gradients' type and device.
        """
        with torch.enable_grad(), self._watched(rows) as calls:
            total = values().sum()
            outputs = [output for _, _, _, output in calls]
            slopes = torch.autograd.grad(total, outputs, allow_unused=True)
        gradients = theta.new_zeros(rows, self._size)
        for (layer, wanted, read, _), slope in zip(calls, slopes, strict=True):
            if slope is None:
                continue
            for kind, gradient in _by_parameter(layer, read.detach(), slope, wanted):
                start, shape = self._places[wanted[kind]]
                gradients[:, start : start + shape.numel()] += gradient.reshape(rows, -1)
        return gradients

    @contextmanager
    def _watched(self, rows: int) -> Iterator[list[tuple[nn.Module, dict[str, str], Tensor, Tensor]]]:
        """Every call of a layer: the layer, its adapted parameters, what it read and what it returned."""
        calls: list[tuple[nn.Module, dict[str, str], Tensor, Tensor]] = []

        def repeat(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            # Positions are often looked up once for all rows.
            return (args[0].expand(rows, *args[0].shape[1:]), *args[1:]) if len(args[0]) == 1 < rows else args

        def keep(wanted: dict[str, str]) -> Callable[..., None]:
            return lambda layer, args, output: calls.append((layer, wanted, args[0], output))

        handles = [layer.register_forward_hook(keep(wanted)) for layer, wanted in self._layers]
        handles += [
            layer.register_forward_pre_hook(repeat) for layer, _ in self._layers if isinstance(layer, nn.Embedding)
        ]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _is_supported(layer: nn.Module) -> bool:
    if type(layer) is nn.Embedding:
        return layer.max_norm is None and not layer.scale_grad_by_freq
    return is_matrix(layer) or type(layer) is nn.LayerNorm or type(layer) in _NORMS


def _by_parameter(
    layer: nn.Module, x: Tensor, slope: Tensor, wanted: dict[str, str]
) -> Iterator[tuple[str, Float[Tensor, "n *shape"]]]:
    """The gradients by a layer's parameters, from what it read and the gradient by what it returned."""
    if isinstance(layer, nn.Embedding):
        flat, tokens = slope.flatten(1, -2), x.flatten(1)
        if layer.padding_idx is not None:
            flat = flat * (tokens != layer.padding_idx)[..., None]
        table = slope.new_zeros(len(x), *layer.weight.shape)
        yield "weight", table.scatter_add_(1, tokens[..., None].expand_as(flat), flat)
        return
    if is_matrix(layer):
        by_position = slope.flatten(2).transpose(1, 2) if isinstance(layer, nn.Conv2d) else slope
        by_position = by_position.reshape(len(x), -1, by_position.shape[-1])
        gradients = {
            "weight": lambda: torch.einsum("nto,nta->noa", by_position, layer_inputs(layer, x)),
            "bias": lambda: by_position.sum(dim=1),
        }
    else:
        normal, features = _normalised(layer, x)
        gradients = {
            "weight": lambda: _summed(slope * normal, features),
            "bias": lambda: _summed(slope, features),
        }
    for kind in wanted:
        yield kind, gradients[kind]()


def _normalised(layer: nn.Module, x: Tensor) -> tuple[Tensor, list[int]]:
    """What the layer multiplies by its weight, and the dimensions that the weight has."""
    if isinstance(layer, nn.LayerNorm):
        features = list(range(x.dim() - len(layer.normalized_shape), x.dim()))
        return nn.functional.layer_norm(x, layer.normalized_shape, eps=layer.eps), features
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    return nn.functional.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps), [1]


def _summed(values: Tensor, features: list[int]) -> Tensor:
    """The sum over all dimensions but the rows and these."""
    others = [at for at in range(1, values.dim()) if at not in features]
    return values.sum(dim=others) if others else values
