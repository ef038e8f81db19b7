"""A model's outputs as a function of its parameters, for models incompatible with ``functional_call``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from repair_pipeline.named_tensors import Batch


class InPlace(torch.autograd.Function):
    """outputs = f(θ; inputs), with θ copied into the model before every forward and backward pass.

    ``torch.func.functional_call`` replaces the parameters during the forward pass only. A model that runs again in the
    backward pass (activation checkpointing) would use other parameters there. Costs a second forward pass; supports
    only first derivatives, in reverse mode.
    """

    @staticmethod
    def forward(ctx: Any, model: nn.Module, inputs: Batch, *values: Tensor) -> Tensor:
        """The outputs; ``values`` are the parameters that require a gradient, in the model's order."""
        ctx.model, ctx.inputs = model, inputs
        ctx.save_for_backward(*values)
        _write(model, values)
        return model(inputs).detach()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # once_differentiable would not detect wrong second derivatives
            raise NotImplementedError("a model that runs again in its backward pass has no second derivatives here")
        parameters = _write(ctx.model, ctx.saved_tensors)
        with torch.enable_grad():
            # By .grad: torch's reentrant checkpoints support nothing else.
            ctx.model(ctx.inputs).backward(*given)
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        return None, None, *gradients


def _write(model: nn.Module, values: tuple[Tensor, ...]) -> list[Tensor]:
    """Copy the values into the parameters that require a gradient; returns these parameters."""
    parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
    return parameters
