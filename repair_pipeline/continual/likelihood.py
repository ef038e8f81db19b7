"""p(z|θ) = p(y|x,θ) of a softmax classifier, as a function of its flat parameter vector."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from repair_pipeline.errors import InputError
from repair_pipeline.types import Examples, Theta


@runtime_checkable
class LogLikelihood(Protocol):
    """log p(z|θ) for every z of a batch."""

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        """In nats, one value an example; log p(Z|θ) is always their sum."""

    def gradients(self, theta: Theta, examples: Examples) -> Float[Tensor, "n p"]:
        """∇_θ log p(z|θ) of every example."""


class Classifier:
    """The log-likelihood of a torch classifier in eval mode with frozen buffers.

    Frozen, because batch statistics would tie the examples of a batch together (p(D|θ) = ∏ p(z|θ) would not hold)
    and running statistics would drift with every pass. θ are the parameters that require a gradient; the others stay.

    Raises:
        InputError: no parameter requires a gradient.
    """

    def __init__(self, model: nn.Module) -> None:
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not self._names:
            raise InputError("no parameter of the model requires a gradient: unfreeze what is to be adapted")
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._adapted = [self._model.get_parameter(name) for name in self._names]
        self._sizes = [parameter.numel() for parameter in self._adapted]
        self._buffers = dict(self._model.named_buffers())
        self.theta_hat: Theta = torch.cat([parameter.flatten() for parameter in self._adapted])
        """The model's own parameters θ̂."""

    def logits(self, theta: Theta, inputs: Float[Tensor, "n *features"]) -> Float[Tensor, "n k"]:
        """The classifier's outputs before the softmax."""
        parameters = dict(zip(self._names, self._shaped(theta), strict=True))
        return functional_call(self._model, (parameters, self._buffers), (inputs,))

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        return -nn.functional.cross_entropy(self.logits(theta, examples.inputs), examples.labels, reduction="none")

    def gradients(self, theta: Theta, examples: Examples) -> Float[Tensor, "n p"]:
        def log_p(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return -nn.functional.cross_entropy(self.logits(theta, x[None]), y[None])

        return vmap(grad(log_p), in_dims=(None, 0, 0))(theta, examples.inputs, examples.labels)

    def module(self, theta: Theta) -> nn.Module:
        """A copy of the model with the parameters θ, which alone require a gradient."""
        model = copy.deepcopy(self._model)
        for name, value in zip(self._names, self._shaped(theta.detach()), strict=True):
            # In the parameter's own memory layout.
            model.get_parameter(name).copy_(value).requires_grad_(True)
        return model

    def _shaped(self, theta: Theta) -> list[Tensor]:
        """θ cut into the model's parameters, each in the memory layout that the model keeps it in."""
        parts = zip(theta.split(self._sizes), self._adapted, strict=True)
        return [_laid_out(part.view(own.shape), own) for part, own in parts]


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """``value`` with its channels last where ``like`` has them last."""
    if value.dim() != 4 or value.stride() == like.stride():
        return value
    channels_last = value.permute(0, 2, 3, 1)
    # Flattened in between: of a single channel the strides tell both layouts, and torch would take it for the other.
    return channels_last.flatten().view(channels_last.shape).permute(0, 3, 1, 2)


@torch.no_grad()
def log_likelihoods(
    log_lik: LogLikelihood, theta: Theta, examples: Examples, batch_size: int = 500
) -> Float64[Tensor, " n"]:
    """log p(z|θ) of every example in nats, in float64 on the CPU: one forward pass."""
    values = [log_lik(theta, batch.to(theta.device)).double().cpu() for batch in examples.batches(batch_size)]
    return torch.cat(values)
