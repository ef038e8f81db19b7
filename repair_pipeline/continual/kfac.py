"""Kronecker-factored curvature (Martens & Grosse 2015; Grosse & Martens 2016 for convolutions)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.continual.fisher import Labels, fisher_diagonal, given_labels
from repair_pipeline.continual.layers import is_matrix, layer_inputs, second_moment
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.errors import InputError
from repair_pipeline.types import Examples, Progress, Theta, silent


@dataclass(frozen=True, eq=False)
class Kronecker:
    """G ⊗ A for one layer's weight, with the bias, if any, as its last column."""

    inputs: Float[Tensor, "a a"]
    """A: the mean over D of the sum over positions of aaᵀ; a is the layer's input, followed by 1 if it has a bias."""
    outputs: Float[Tensor, "g g"]
    """G: the mean over D and over positions of ggᵀ; g is the gradient of log p by the layer's output."""
    weight: slice
    """The position of the layer's weight in θ."""
    bias: slice | None
    """The position of its bias in θ; None if it has none."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        """vec(Δ)ᵀ (G ⊗ A) vec(Δ) = ⟨Δ, GΔA⟩, without forming the Kronecker product."""
        change = delta[self.weight].view(len(self.outputs), -1)
        if self.bias is not None:
            change = torch.cat([change, delta[self.bias][:, None]], dim=1)
        return (change * (self.outputs @ change @ self.inputs)).sum()


@dataclass(frozen=True, eq=False)
class KroneckerFactored:
    """A block-diagonal precision: Kronecker-factored over linear and convolutional layers, diagonal over the rest."""

    blocks: tuple[Kronecker, ...]
    scale: float
    """2/γ, the factor of the blocks."""
    diagonal: Theta
    """Added to the diagonal: λ everywhere, and (2/γ) diag F̂ for parameters without a block."""

    def quadratic(self, delta: Theta) -> Float[Tensor, ""]:
        factored = sum((block.quadratic(delta) for block in self.blocks), delta.new_zeros(()))
        return self.scale * factored + (self.diagonal * delta.square()).sum()

    def updated(self, factor: Factor, theta: Theta, log_lik: LogLikelihood) -> KroneckerFactored:
        raise NotImplementedError(
            "a sum of Kronecker products is not a Kronecker product, so a K-FAC precision is not updated: "
            'use EWC(..., precision="frozen")'
        )


def kfac(
    classifier: Classifier,
    theta: Theta,
    examples: Examples,
    gamma: float,
    prior: float = 0.0,
    batch_size: int = 100,
    progress: Progress = silent,
    labels: Labels = given_labels,
) -> KroneckerFactored:
    """(2/γ) F̂ + λI, with F̂ the Kronecker-factored Fisher over ``examples``.

    Computed in θ's precision and summed in float64. Costs a forward pass, and a backward pass for each label per row;
    parameters of other layers (normalisation, grouped convolutions) cost a pass of per-sample gradients in addition.

    Args:
        classifier: log p(z|θ).
        theta: where the factors are computed.
        examples: D.
        gamma: γ > 0.
        prior: λ ≥ 0.
        batch_size: rows per pass.
        progress: called after each batch.
        labels: the labels to use; see ``labels_of``.

    Raises:
        InputError: no adapted layer is linear or convolutional, or one is used more than once in a forward pass.
        FloatingPointError: the factors are not finite, or zero everywhere.
    """
    model = classifier.module(theta).eval()
    slices = _slices(model)
    model.requires_grad_(False)
    layers = {name: layer for name, layer in model.named_modules() if is_matrix(layer) and layer.weight in slices}
    if not layers:
        raise InputError(
            "no adapted layer is linear or convolutional, so K-FAC has no factors: use a diagonal curvature"
        )
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    probes: dict[str, Tensor] = {}

    def watch(name: str, layer: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
        if name in probes:
            raise InputError(
                f"layer {name} is used twice in a forward pass, which K-FAC does not support: use a diagonal curvature"
            )
        inputs[name] = inputs.get(name, 0) + second_moment(_inputs(layer, args[0].detach()))
        # Gradients by a zero that is added to the output, as the next layer may overwrite the output in place.
        probes[name] = torch.zeros_like(output, requires_grad=True)
        return output + probes[name]

    for name, layer in layers.items():
        layer.register_forward_hook(partial(watch, name), prepend=True)  # before a likelihood's hook
    done = 0
    for batch in examples.batches(batch_size):
        batch = batch.to(theta.device)
        probes.clear()
        log_p = model(batch.inputs).log_softmax(dim=1)
        for labelled, weights in labels(theta, batch):
            total = log_p.gather(1, labelled.labels[:, None]).sum()
            gradients = torch.autograd.grad(total, list(probes.values()), retain_graph=True)
            for name, gradient in zip(probes, gradients, strict=True):
                by_position = _output_gradients(layers[name], gradient)
                weighted = (weights / by_position.shape[1]).sqrt()[:, None, None] * by_position
                outputs[name] = outputs.get(name, 0) + second_moment(weighted)
        done += len(batch)
        progress(done, len(examples))

    blocks = tuple(
        Kronecker(
            inputs=(inputs[name] / len(examples)).to(theta),
            outputs=(total / len(examples)).to(theta),
            weight=slices[layers[name].weight],
            bias=slices.get(layers[name].bias),
        )
        for name, total in outputs.items()
    )
    size = sum(block.inputs.trace() * block.outputs.trace() for block in blocks)
    if not 0 < float(size) < float("inf"):
        raise FloatingPointError(
            f"the K-FAC factors over {len(examples)} rows are zero or not finite: "
            "the base model's outputs are saturated or have diverged; train it with a smaller learning rate"
        )
    rest = torch.ones_like(theta, dtype=torch.bool)
    for span in (span for block in blocks for span in (block.weight, block.bias) if span):
        rest[span] = False
    diagonal = torch.full_like(theta, prior)
    if rest.any():
        fisher = fisher_diagonal(classifier, theta, examples, batch_size, labels=labels)
        diagonal[rest] += 2 / gamma * fisher[rest]
    return KroneckerFactored(blocks, 2 / gamma, diagonal)


def _inputs(layer: nn.Module, x: Tensor) -> Float[Tensor, "n t a"]:
    """The layer's input at each of t positions, followed by 1 if it has a bias."""
    vectors = layer_inputs(layer, x)
    return vectors if layer.bias is None else nn.functional.pad(vectors, (0, 1), value=1.0)


def _output_gradients(layer: nn.Module, gradient: Tensor) -> Float[Tensor, "n t g"]:
    """The gradient by the layer's output, for each of t positions."""
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
