"""p(z|θ) = p(y|x,θ) of a model, as a function of its flat parameter vector."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property, partial
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from repair_pipeline.compute.engines import shards, spread
from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.in_place import InPlace
from repair_pipeline.continual.layer_gradients import LayerGradients
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.models.copying import copied
from repair_pipeline.named_tensors import Batch, joined
from repair_pipeline.types import Examples, Progress, Theta


@runtime_checkable
class LogLikelihood(Protocol):
    """log p(z|θ) for every z of a batch."""

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        """log p(z|θ) in nats, one value per example; log p(Z|θ) is always their sum."""

    def gradients(self, theta: Theta, examples: Examples) -> Float[Tensor, "n p"]:
        """∇_θ log p(z|θ) of every example."""


Outputs = Callable[[Theta, Batch], Tensor]
"""(θ, inputs) → a model's outputs."""

Value = Callable[[Tensor, Tensor], Tensor]
"""(logits, labels) → a value of every row."""

Way = Literal["batched", "layers", "rows", "in_place"]
"""How per-sample gradients are computed: by ``vmap``; from what each layer reads; one row at a time; or one at a time
with θ copied into the model."""

_TRIED = 3
"""Rows on which a way is tested."""

_OWNERS = (torch.jit.ScriptModule, nn.DataParallel)
"""Modules that ``torch.func.functional_call`` does not support."""


class Classifier:
    """The log-likelihood of a torch model in eval mode with frozen buffers.

    Frozen, because batch statistics would make the examples of a batch dependent (p(D|θ) = ∏ p(z|θ) would not hold)
    and running statistics would drift with every pass. θ consists of the parameters that require a gradient; the others
    are fixed.

    Args:
        model: is copied.
        likelihood: p(y|x,θ) of the model's outputs; None: that which was added to the model, or else the softmax.

    Raises:
        InputError: no parameter requires a gradient, or the model does not support the likelihood.
    """

    def __init__(self, model: nn.Module, likelihood: Likelihood | None = None) -> None:
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not self._names:
            raise InputError("no parameter of the model requires a gradient: unfreeze those to be adapted")
        self._model = (likelihood.on(copied(model)) if likelihood else copied(model)).eval()
        self.likelihood = likelihood_of(self._model)
        """p(y|x,θ) of the model's outputs."""
        for parameter in self._model.parameters():  # a scripted module cannot freeze itself
            parameter.requires_grad_(False)
        self._adapted = _named(self._model, self._names)
        self._sizes = [parameter.numel() for parameter in self._adapted]
        self._buffers = dict(self._model.named_buffers())
        self.theta_hat: Theta = torch.cat([parameter.flatten() for parameter in self._adapted])
        """The model's own parameters θ̂."""
        self.partial = len(self._names) < len(list(self._model.parameters()))
        """Whether only a part of the model's parameters is adapted."""
        self._way: Way | None = "in_place" if isinstance(self._model, _OWNERS) else None
        self._owner: nn.Module | None = None

    def way(self, inputs: Batch) -> Way:
        """How this model's per-sample gradients are computed: tested on a few rows at the first call, then kept.

        ``torch.func.vmap`` does not support models that branch on values, write in place, or use ``.item()``, recurrent
        cells or a custom ``autograd.Function``. Then ``LayerGradients`` is used, if all adapted parameters belong to
        common layers and it gives what ordinary autograd gives, one row at a time, which is the last resort.

        Raises:
            Exception: the model's own, if neither can differentiate it.
        """
        if self._way is None:
            self._way = self._supported_way(inputs[:_TRIED])
        return self._way

    def logits(self, theta: Theta, inputs: Batch) -> Float[Tensor, "n *k"]:
        """What the likelihood reads: of a softmax log p(y|x,θ) of every class, up to a constant per row."""
        differentiated = theta.requires_grad and torch.is_grad_enabled()
        if (self.way(inputs) if differentiated else self._way) == "in_place":
            return self._in_place(theta, inputs)
        return self._functional(theta, inputs)

    def __call__(self, theta: Theta, examples: Examples) -> Float[Tensor, " n"]:
        return self.likelihood.log_p(self.logits(theta, examples.inputs), examples.labels)

    def gradients(self, theta: Theta, examples: Examples, of: Value | None = None) -> Float[Tensor, "n p"]:
        """∇_θ of every example's log p(z|θ), or of another function of its logits.

        Args:
            theta: where the gradients are taken.
            examples: n rows.
            of: the function, of logits and labels, one value a row; None: log p.
        """
        of = of or self.likelihood.log_p
        if self.way(examples.inputs) == "batched":
            return self._batched(theta, examples.inputs, examples.labels, of)
        if self._way == "layers":
            return self._by_layers(theta, examples.inputs, examples.labels, of)
        rows = zip(examples.inputs.split(1), examples.labels.split(1), strict=True)
        return torch.stack([self._of_row(self.logits, theta, x, y, of) for x, y in rows])

    def module(self, theta: Theta) -> nn.Module:
        """A copy of the model with the parameters θ; only these require a gradient."""
        model = copied(self._model)
        for parameter, value in zip(_named(model, self._names), self._shaped(theta.detach()), strict=True):
            parameter.copy_(value).requires_grad_(True)  # in the parameter's own memory layout
        return model

    def _functional(self, theta: Theta, inputs: Batch) -> Tensor:
        parameters = dict(zip(self._names, self._shaped(theta), strict=True))
        return functional_call(self._model, (parameters, self._buffers), (inputs,))

    def _in_place(self, theta: Theta, inputs: Batch) -> Tensor:
        if self._owner is None:
            self._owner = self.module(self.theta_hat)
        return InPlace.apply(self._owner, inputs, *self._shaped(theta))

    def _batched(self, theta: Theta, inputs: Batch, labels: Tensor, of: Value) -> Float[Tensor, "n p"]:
        def of_row(theta: Tensor, x: Batch, y: Tensor) -> Tensor:
            return of(self._functional(theta, x[None]), y[None])[0]

        with warnings.catch_warnings():
            # Some operations, such as fused attention, run row by row under vmap: slower, but nothing the user can fix.
            warnings.filterwarnings("ignore", "There is a performance drop because")
            return vmap(grad(of_row), in_dims=(None, 0, 0))(theta, inputs, labels)

    @cached_property
    def _layers(self) -> LayerGradients:
        return LayerGradients(self._model, self._names)

    def _by_layers(self, theta: Theta, inputs: Batch, labels: Tensor, of: Value) -> Float[Tensor, "n p"]:
        at = theta.detach().requires_grad_(True)  # so that every layer's output has a gradient
        return self._layers(lambda: of(self._functional(at, inputs), labels), len(labels), theta)

    def _of_row(self, logits: Outputs, theta: Theta, x: Batch, y: Tensor, of: Value) -> Theta:
        with torch.enable_grad():
            at = theta.detach().requires_grad_(True)
            return gradient(of(logits(at, x), y)[0], at)

    def _supported_way(self, some: Batch) -> Way:
        row, log_p = some[:1], self.likelihood.log_p
        label = self._any_labels(row)

        def of_row(logits: Outputs) -> Theta:
            torch.manual_seed(0)  # the model may use random numbers
            return self._of_row(logits, self.theta_hat, row, label, log_p)

        with torch.random.fork_rng():
            try:
                self._batched(self.theta_hat, joined([row, row]), torch.cat([label, label]), log_p)
                return "batched"
            except Exception:  # any error: if ordinary autograd fails as well, its error is raised
                reference = of_row(self._in_place)
            try:
                functional = of_row(self._functional)
            except Exception:
                return "in_place"
        # Under functional_call a reentrant checkpoint raises no error but gives wrong gradients.
        tolerance = 1e-3 * float(reference.abs().max())
        if not torch.allclose(functional, reference, rtol=1e-3, atol=tolerance, equal_nan=True):
            return "in_place"
        return "layers" if self._layers_agree(some) else "rows"

    @torch.no_grad()
    def _any_labels(self, some: Batch) -> Tensor:
        """Some labels for these rows, in the form of the task's."""
        return torch.zeros_like(self.likelihood.said(self._model(some), None))

    def _layers_agree(self, some: Batch) -> bool:
        """Whether gradients from what each layer reads are those of ordinary autograd, on a few rows."""
        labels, log_p = self._any_labels(some), self.likelihood.log_p
        with torch.random.fork_rng():
            try:
                by_layers = self._by_layers(self.theta_hat, some, labels, log_p)
            except Exception:  # any error: not all models run as the layers' hooks need it
                return False
            rows = [self._of_row(self._functional, self.theta_hat, row, labels[:1], log_p) for row in some.split(1)]
        by_rows = torch.stack(rows)
        return torch.allclose(by_layers, by_rows, rtol=1e-3, atol=1e-3 * float(by_rows.abs().max()))

    def _shaped(self, theta: Theta) -> list[Tensor]:
        """θ split into the model's parameters, each in the memory layout of the model's own."""
        parts = zip(theta.split(self._sizes), self._adapted, strict=True)
        return [_with_layout_of(own, part.view(own.shape)) for part, own in parts]


def _named(model: nn.Module, names: list[str]) -> list[Tensor]:
    parameters: dict[str, Tensor] = dict(model.named_parameters())  # a scripted module has no get_parameter
    return [parameters[name] for name in names]


def _with_layout_of(reference: Tensor, value: Tensor) -> Tensor:
    """``value`` with its channels last if those of ``reference`` are."""
    if value.dim() != 4 or value.stride() == reference.stride():
        return value
    channels_last = value.permute(0, 2, 3, 1)
    # Flattened in between: with a single channel the strides fit both layouts, and torch would choose the other one.
    return channels_last.flatten().view(channels_last.shape).permute(0, 3, 1, 2)


def log_likelihoods(
    log_lik: LogLikelihood, theta: Theta, examples: Examples, batch_size: int | None = None
) -> Float64[Tensor, " n"]:
    """log p(z|θ) of every example in nats, float64 on the CPU. Costs one forward pass."""
    return torch.cat(list(spread(partial(_log_likelihoods, log_lik, theta, batch_size), shards(examples))))


@torch.no_grad()
def _log_likelihoods(
    log_lik: LogLikelihood, theta: Theta, batch_size: int | None, rows: Examples, progress: Progress
) -> Float64[Tensor, " n"]:
    batches = rows.batches(batch_size or rows.at_once)
    return torch.cat([log_lik(theta, batch.to(theta.device)).double().cpu() for batch in batches])
