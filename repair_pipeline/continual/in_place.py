"""A model's outputs as a function of its parameters, for models that must own the parameters they run with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class InPlace(torch.autograd.Function):
    """outputs = f(θ; inputs), θ being written into the model itself before every pass, forward or backward.

    ``torch.func.functional_call`` lends a model its parameters for the forward pass only. A model that runs again in
    the backward pass (activation checkpointing) would meet others there. Costs a second forward pass; has first
    derivatives alone, in reverse mode.
    """

    @staticmethod
    def forward(ctx: Any, model: nn.Module, inputs: Tensor, *values: Tensor) -> Tensor:
        """The outputs; ``values`` are those of the parameters that require a gradient, in their order."""
        ctx.model, ctx.inputs = model, inputs
        ctx.save_for_backward(*values)
        _write(model, values)
        return model(inputs).detach()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable would let wrong second derivatives pass
            raise NotImplementedError("a model that runs again in its backward pass has no second derivatives here")
        parameters = _write(ctx.model, ctx.saved_tensors)
        with torch.enable_grad():
            # Into .grad, as torch's reentrant checkpoints allow no other way.
            ctx.model(ctx.inputs).backward(*given)
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        return None, None, *gradients


def _write(model: nn.Module, values: tuple[Tensor, ...]) -> list[Tensor]:
    """Fill the parameters that require a gradient."""
    parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
    return parameters
