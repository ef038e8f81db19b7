"""Kronecker-factored curvature (Martens & Grosse 2015; Grosse & Martens 2016; EK-FAC: George et al. 2018)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.continual.fisher import Labels, fisher_diagonal, given_labels
from repair_pipeline.continual.layers import is_matrix, layer_inputs, second_moment
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.types import Examples, Progress, Theta, silent


@dataclass(frozen=True, eq=False)
class Kronecker:
    """G ⊗ A for one layer's weight, with the bias, if it is adapted, as its last column."""

    inputs: Float[Tensor, "a a"]
    """A: the mean over D of the sum over positions of aaᵀ; a is the layer's input, followed by 1 if there is a bias."""
    outputs: Float[Tensor, "g g"]
    """G: the mean over D and over positions of ggᵀ; g is the gradient of log p by the layer's output."""
    weight: slice
    """The position of the layer's weight in θ."""
    bias: slice | None
    """The position of its bias in θ; None if it has none, or a frozen one."""
    moments: Float[Tensor, "g a"] | None = None
    """EK-FAC: the mean over D of the squared gradients in the eigenbasis, in place of the products of eigenvalues."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        """vec(Δ)ᵀ C vec(Δ) of this layer's block C; with C = G ⊗ A it is ⟨Δ, GΔA⟩."""
        change = self._matrix(delta)
        if self.moments is None:
            return (change * (self.outputs @ change @ self.inputs)).sum()
        return (self.moments * self._rotated(change).square()).sum()

    def squares(
        self, inputs: Float[Tensor, "n t a"], gradients: Float[Tensor, "n t g"], weights: Float[Tensor, " n"]
    ) -> Float[Tensor, "g a"]:
        """The weighted sum over rows of their squared gradients in the eigenbasis, in float64."""
        inputs, gradients = inputs @ self._input_basis, gradients @ self._output_basis
        if inputs.shape[1] == 1:  # the square of a product is the product of squares
            return ((weights[:, None] * gradients[:, 0].square()).T @ inputs[:, 0].square()).double()
        rows = gradients.transpose(1, 2) @ inputs
        return torch.einsum("n,nga->ga", weights, rows.square()).double()

    def solve(self, damping: float, v: Float[Tensor, "*m p"], into: Float[Tensor, "*m p"]) -> None:
        """Write (C + δI)⁻¹ v into this layer's part of ``into``."""
        rotated = self._rotated(self._matrix(v)) / (self._eigenvalues + damping)
        change = self._output_basis @ rotated @ self._input_basis.T
        columns = change.shape[-1] - (self.bias is not None)
        into[..., self.weight] = change[..., :columns].flatten(-2)
        if self.bias is not None:
            into[..., self.bias] = change[..., -1]

    def _rotated(self, change: Float[Tensor, "*m g a"]) -> Float[Tensor, "*m g a"]:
        """The change in the eigenbasis of G and A."""
        return self._output_basis.T @ change @ self._input_basis

    def _matrix(self, v: Float[Tensor, "*m p"]) -> Float[Tensor, "*m g a"]:
        change = v[..., self.weight].unflatten(-1, (len(self.outputs), -1))
        return change if self.bias is None else torch.cat([change, v[..., self.bias, None]], dim=-1)

    @cached_property
    def _eigen(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        # In float64, as rounding would make small eigenvalues negative.
        return tuple(  # type: ignore[return-value]  # two
            tuple(part.to(self.inputs) for part in torch.linalg.eigh(factor.double()))
            for factor in (self.outputs, self.inputs)
        )

    @property
    def _output_basis(self) -> Tensor:
        return self._eigen[0][1]

    @property
    def _input_basis(self) -> Tensor:
        return self._eigen[1][1]

    @property
    def _eigenvalues(self) -> Float[Tensor, "g a"]:
        if self.moments is not None:
            return self.moments
        outputs, inputs = (values.clamp(min=0) for values, _ in self._eigen)
        return outputs[:, None] * inputs


@dataclass(frozen=True, eq=False)
class KroneckerFactored:
    """F̂ block by block: Kronecker-factored over linear and convolutional layers, diagonal over the rest."""

    blocks: tuple[Kronecker, ...]
    diagonal: Theta
    """diag F̂ of the parameters without a block, 0 for the others."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        factored = sum((block.quadratic(delta) for block in self.blocks), delta.new_zeros(()))
        return factored + (self.diagonal * delta.square()).sum()

    def solve(self, damping: float, v: Float[Tensor, "*m p"]) -> Float[Tensor, "*m p"]:
        v = v.to(self.diagonal.dtype)
        solved = v / (self.diagonal + damping)
        for block in self.blocks:
            block.solve(damping, v, solved)
        return solved


def kfac(
    classifier: Classifier,
    theta: Theta,
    examples: Examples,
    batch_size: int = 100,
    progress: Progress = silent,
    labels: Labels = given_labels,
    corrected: bool = False,
) -> KroneckerFactored:
    """The Kronecker-factored Fisher F̂ over ``examples``.

    Computed in θ's precision and summed in float64. Costs a forward pass, and a backward pass for each label per row,
    twice if ``corrected``. Parameters of other layers (normalisation, grouped convolutions, layers whose weight is used
    more than once in a forward pass) cost a pass of per-sample gradients in addition.

    Args:
        classifier: log p(z|θ).
        theta: where the factors are computed.
        examples: D.
        batch_size: rows per pass.
        progress: called after each batch.
        labels: the labels to use; see ``labels_of``.
        corrected: EK-FAC: measure the curvature along the factors' eigenvectors.

    Raises:
        InputError: no adapted layer is linear or convolutional and used once.
        FloatingPointError: the factors are not finite, or zero everywhere.
    """
    model = classifier.module(theta).eval()
    slices = _slices(model)
    model.requires_grad_(False)
    layers = _layers(model, slices, examples[:1].to(theta.device))
    if not layers:
        raise InputError(
            "no adapted layer is linear or convolutional and used once, so K-FAC has no factors: use a diagonal "
            "curvature"
        )
    watched = _Watched(model, layers, {name for name, layer in layers.items() if layer.bias in slices})
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    passes = 1 + corrected
    done = 0
    for batch in examples.batches(batch_size):
        for name, into in watched.forward(batch.to(theta.device)).items():
            inputs[name] = inputs.get(name, 0) + second_moment(into)
        for weights, gradients in watched.backward(labels(theta, watched.batch)):
            for name, gradient in gradients.items():
                weighted = (weights / gradient.shape[1]).sqrt()[:, None, None] * gradient
                outputs[name] = outputs.get(name, 0) + second_moment(weighted)
        done += len(batch)
        progress(done, passes * len(examples))

    blocks = {
        name: Kronecker(
            inputs=(inputs[name] / len(examples)).to(theta),
            outputs=(total / len(examples)).to(theta),
            weight=slices[layers[name].weight],  # type: ignore[index]  # a tensor
            bias=slices.get(layers[name].bias),  # type: ignore[arg-type]  # a tensor, or None
        )
        for name, total in outputs.items()
    }
    size = sum(block.inputs.trace() * block.outputs.trace() for block in blocks.values())
    if not 0 < float(size) < float("inf"):
        raise FloatingPointError(
            f"the K-FAC factors over {len(examples)} rows are zero or not finite: "
            "the base model's outputs are saturated or have diverged; train it with a smaller learning rate"
        )
    if corrected:
        moments: dict[str, Tensor] = {}
        for batch in examples.batches(batch_size):
            read = watched.forward(batch.to(theta.device))
            for weights, gradients in watched.backward(labels(theta, watched.batch)):
                for name, block in blocks.items():
                    moments[name] = moments.get(name, 0) + block.squares(read[name], gradients[name], weights)
            done += len(batch)
            progress(done, passes * len(examples))
        blocks = {
            name: replace(block, moments=(moments[name] / len(examples)).to(theta)) for name, block in blocks.items()
        }
    rest = torch.ones_like(theta, dtype=torch.bool)
    for span in (span for block in blocks.values() for span in (block.weight, block.bias) if span):
        rest[span] = False
    diagonal = torch.zeros_like(theta)
    if rest.any():
        diagonal[rest] = fisher_diagonal(classifier, theta, examples, labels=labels)[rest]
    return KroneckerFactored(tuple(blocks.values()), diagonal)


class _Watched:
    """A model whose layers' inputs are kept in a forward pass, and whose output gradients a backward pass returns."""

    def __init__(self, model: nn.Module, layers: dict[str, nn.Module], with_bias: set[str]) -> None:
        self._model, self._layers, self._with_bias = model, layers, with_bias
        self._inputs: dict[str, Tensor] = {}
        self._probes: dict[str, Tensor] = {}
        self._log_p = likelihood_of(model).log_p
        for name, layer in layers.items():
            layer.register_forward_hook(partial(self._watch, name), prepend=True)  # before a likelihood's hook

    def forward(self, batch: Examples) -> dict[str, Float[Tensor, "n t a"]]:
        """The vectors that each layer multiplies by its weight at each of t positions, followed by 1 for its bias."""
        self._inputs.clear()
        self._probes.clear()
        self.batch = batch
        self._outputs = self._model(batch.inputs)
        return self._inputs

    def backward(
        self, labellings: Iterator[tuple[Examples, Float[Tensor, " n"]]]
    ) -> Iterator[tuple[Float[Tensor, " n"], dict[str, Float[Tensor, "n t g"]]]]:
        """For each labelling of the batch its weights, and the gradients of log p by each layer's output."""
        for labelled, weights in labellings:
            total = self._log_p(self._outputs, labelled.labels).sum()
            gradients = torch.autograd.grad(total, list(self._probes.values()), retain_graph=True)
            named = zip(self._probes, gradients, strict=True)
            yield weights, {name: _by_position(self._layers[name], gradient) for name, gradient in named}

    def _watch(self, name: str, layer: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        self._inputs[name] = _inputs(layer, args[0].detach(), name in self._with_bias)
        # Gradients by a zero that is added to the output, as the next layer may overwrite the output in place.
        self._probes[name] = torch.zeros_like(output, requires_grad=True)
        return output + self._probes[name]


@torch.no_grad()
def _layers(model: nn.Module, slices: dict[Tensor, slice], row: Examples) -> dict[str, nn.Module]:
    """The linear and convolutional layers by name whose weight is adapted, and used once in a forward pass."""
    candidates = {name: layer for name, layer in model.named_modules() if is_matrix(layer) and layer.weight in slices}
    uses = Counter[Tensor]()  # by weight: two layers may share one
    counting = [
        layer.register_forward_hook(lambda layer, *_: uses.update([layer.weight])) for layer in candidates.values()
    ]
    model(row.inputs)
    for hook in counting:
        hook.remove()
    return {name: layer for name, layer in candidates.items() if uses[layer.weight] == 1}


def _inputs(layer: nn.Module, x: Tensor, with_bias: bool) -> Float[Tensor, "n t a"]:
    vectors = layer_inputs(layer, x)
    return nn.functional.pad(vectors, (0, 1), value=1.0) if with_bias else vectors


def _by_position(layer: nn.Module, gradient: Tensor) -> Float[Tensor, "n t g"]:
    if isinstance(layer, nn.Conv2d):
        gradient = gradient.flatten(2).transpose(1, 2)
    return gradient.reshape(len(gradient), -1, gradient.shape[-1])


def _slices(model: nn.Module) -> dict[Tensor, slice]:
    """The position of each parameter in θ."""
    slices: dict[Tensor, slice] = {}
    start = 0
    for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
        slices[parameter] = slice(start, start + parameter.numel())
        start += parameter.numel()
    return slices
