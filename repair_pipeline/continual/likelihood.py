"""p(z|θ) = p(y|x,θ) of a classifier, as a function of its flat parameter vector."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.in_place import InPlace
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Likelihood, log_p
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.models.copying import copied
from repair_pipeline.types import Examples, Theta


@runtime_checkable
class LogLikelihood(Protocol):
    """log p(z|θ) for every z of a batch."""

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        """In nats, one value an example; log p(Z|θ) is always their sum."""

    def gradients(self, theta: Theta, examples: Examples) -> Float[Tensor, "n p"]:
        """∇_θ log p(z|θ) of every example."""


Outputs = Callable[[Theta, Tensor], Tensor]
"""(θ, inputs) → a classifier's outputs."""

Way = Literal["batched", "rows", "in_place"]
"""How gradients are taken: of a batch's rows at once; one row at a time; so, by a model that owns its parameters."""

_OWNERS = (torch.jit.ScriptModule, nn.DataParallel)
"""Modules that torch lends no parameters to."""


class Classifier:
    """The log-likelihood of a torch classifier in eval mode with frozen buffers.

    Frozen, because batch statistics would tie the examples of a batch together (p(D|θ) = ∏ p(z|θ) would not hold)
    and running statistics would drift with every pass. θ are the parameters that require a gradient; the others stay.

    Args:
        likelihood: how the model's outputs are read.

    Raises:
        InputError: no parameter requires a gradient, or the model's outputs cannot be read by this likelihood.
    """

    def __init__(self, model: nn.Module, likelihood: Likelihood = SOFTMAX) -> None:
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not self._names:
            raise InputError("no parameter of the model requires a gradient: unfreeze what is to be adapted")
        self._model = likelihood.on(copied(model)).eval()
        for parameter in self._model.parameters():  # a scripted module cannot freeze itself
            parameter.requires_grad_(False)
        self._adapted = _named(self._model, self._names)
        self._sizes = [parameter.numel() for parameter in self._adapted]
        self._buffers = dict(self._model.named_buffers())
        self.theta_hat: Theta = torch.cat([parameter.flatten() for parameter in self._adapted])
        """The model's own parameters θ̂."""
        self._way: Way | None = "in_place" if isinstance(self._model, _OWNERS) else None
        self._owner: nn.Module | None = None

    def way(self, inputs: Float[Tensor, "n *features"]) -> Way:
        """How this model's gradients are taken: tried on a row when it is first asked, and kept.

        ``torch.func.vmap`` runs no model that branches on its values, writes in place, or calls ``.item()``, a
        recurrent cell or a custom ``autograd.Function``. Ordinary autograd does, a row at a time, to the same values.

        Raises:
            Exception: the model's own, where neither can differentiate it.
        """
        if self._way is None:
            self._way = self._tried(inputs[:1])
        return self._way

    def logits(self, theta: Theta, inputs: Float[Tensor, "n *features"]) -> Float[Tensor, "n k"]:
        """log p(y|x,θ) of every class, up to a constant a row."""
        differentiated = theta.requires_grad and torch.is_grad_enabled()
        if (self.way(inputs) if differentiated else self._way) == "in_place":
            return self._in_place(theta, inputs)
        return self._functional(theta, inputs)

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        return log_p(self.logits(theta, examples.inputs), examples.labels)

    def gradients(self, theta: Theta, examples: Examples) -> Float[Tensor, "n p"]:
        if self.way(examples.inputs) == "batched":
            return self._batched(theta, examples.inputs, examples.labels)
        rows = zip(examples.inputs.split(1), examples.labels.split(1), strict=True)
        return torch.stack([self._of_row(self.logits, theta, x, y) for x, y in rows])

    def module(self, theta: Theta) -> nn.Module:
        """A copy of the model with the parameters θ, which alone require a gradient."""
        model = copied(self._model)
        for parameter, value in zip(_named(model, self._names), self._shaped(theta.detach()), strict=True):
            parameter.copy_(value).requires_grad_(True)  # in the parameter's own memory layout
        return model

    def _functional(self, theta: Theta, inputs: Tensor) -> Tensor:
        parameters = dict(zip(self._names, self._shaped(theta), strict=True))
        return functional_call(self._model, (parameters, self._buffers), (inputs,))

    def _in_place(self, theta: Theta, inputs: Tensor) -> Tensor:
        if self._owner is None:
            self._owner = self.module(self.theta_hat)
        return InPlace.apply(self._owner, inputs, *self._shaped(theta))

    def _batched(self, theta: Theta, inputs: Tensor, labels: Tensor) -> Float[Tensor, "n p"]:
        def of_row(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return log_p(self._functional(theta, x[None]), y[None])[0]

        with warnings.catch_warnings():
            # An operation that vmap takes row by row, such as fused attention: slower, and nothing to act on.
            warnings.filterwarnings("ignore", "There is a performance drop because")
            return vmap(grad(of_row), in_dims=(None, 0, 0))(theta, inputs, labels)

    def _of_row(self, logits: Outputs, theta: Theta, x: Tensor, y: Tensor) -> Theta:
        with torch.enable_grad():
            at = theta.detach().requires_grad_(True)
            return gradient(log_p(logits(at, x), y)[0], at)

    def _tried(self, row: Float[Tensor, "1 *features"]) -> Way:
        label = torch.zeros(1, dtype=torch.int64, device=row.device)

        def of_row(logits: Outputs) -> Theta:
            torch.manual_seed(0)  # a model may draw at random
            return self._of_row(logits, self.theta_hat, row, label)

        with torch.random.fork_rng():
            try:
                self._batched(self.theta_hat, torch.cat([row, row]), torch.cat([label, label]))
                return "batched"
            except Exception:  # whatever it was: where ordinary autograd fails as well, that is raised
                alone = of_row(self._in_place)
            try:
                lent = of_row(self._functional)
            except Exception:
                return "in_place"
        # A reentrant checkpoint does not refuse lent parameters, it gives wrong gradients.
        same = torch.allclose(lent, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True)
        return "rows" if same else "in_place"

    def _shaped(self, theta: Theta) -> list[Tensor]:
        """θ cut into the model's parameters, each in the memory layout that the model keeps it in."""
        parts = zip(theta.split(self._sizes), self._adapted, strict=True)
        return [_laid_out(part.view(own.shape), own) for part, own in parts]


def _named(model: nn.Module, names: list[str]) -> list[Tensor]:
    parameters: dict[str, Tensor] = dict(model.named_parameters())  # a scripted module has no get_parameter
    return [parameters[name] for name in names]


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
