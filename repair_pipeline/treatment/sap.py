"""Scaled activation projection, a method from the unlearning literature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float64
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.continual.layers import is_matrix, layer_inputs, second_moment
from repair_pipeline.errors import InputError
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.fitness import fitness
from repair_pipeline.treatment.guarded import watched_guard
from repair_pipeline.types import Causes, Examples


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SAP:
    """Project every layer's weight W onto what trusted rows activate: W U Λ Uᵀ (Kodge et al., AAAI 2025: SAP).

    Trusted are rows of D that θ̂ finds likeliest. R = U Σ Vᵀ holds a layer's inputs on them as columns, one for each
    position of a convolution. With s_i = σ_i² / Σ_j σ_j², Λ_i = α s_i / ((α − 1) s_i + 1): directions of little energy
    are suppressed, fewer of them for larger α. All layers are projected at once, and biases are kept. As published, α
    is chosen by accuracy on clean rows, θ̂ included: here query_tuning and the monitored guard, at their natural mix.
    Removes nothing. Costs a forward pass over the trusted rows and an eigendecomposition for each layer.
    """

    trusted: PositiveInt = 1000
    """Number of trusted rows, at most half of D; as published, for 50,000 rows."""
    alphas: tuple[PositiveFloat, ...] = (3e2, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6)
    """The values of α to choose from; from 1e4 on as published for CIFAR-10, smaller ones for smaller layers."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        watched_guard(task)
        count = min(self.trusted, len(task.fit) // 2)
        likeliest = np.lexsort((task.fit.ids, -task.log_lik_hat.numpy()))[:count]
        activated = _directions(task, task.fit[torch.from_numpy(likeliest)])
        # The least changed first, so that it is kept where several are as good.
        alphas = sorted(self.alphas, reverse=True)
        models = [task.classifier.module(task.theta_hat), *(_projected(task, activated, alpha) for alpha in alphas)]
        return max(models, key=lambda model: _accuracy(task, model)).eval()


Directions = Mapping[str, tuple[Float64[Tensor, " a"], Float64[Tensor, "a a"]]]
"""By name of the layer: the share of energy of each direction of its input, and the directions as columns, U."""


@torch.no_grad()
def _directions(task: RepairTask, rows: Examples) -> Directions:
    model = task.classifier.module(task.theta_hat).eval()
    layers = {name: layer for name, layer in model.named_modules() if is_matrix(layer) and layer.weight.requires_grad}
    if not layers:
        raise InputError("no adapted layer is linear or convolutional, so sap has nothing to project: leave it out")
    moments = dict.fromkeys(layers, torch.zeros(()))

    def watch(name: str, layer: nn.Module, args: tuple[Tensor]) -> None:
        moments[name] = moments[name] + second_moment(layer_inputs(layer, args[0])).cpu()

    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda layer, args, name=name: watch(name, layer, args))
    for batch in rows.batches(100):
        model(batch.inputs.to(task.theta_hat.device))
    return {name: _by_energy(moment) for name, moment in moments.items() if moment.any()}


def _by_energy(moment: Float64[Tensor, "a a"]) -> tuple[Float64[Tensor, " a"], Float64[Tensor, "a a"]]:
    # R Rᵀ = U Σ² Uᵀ.
    energies, directions = torch.linalg.eigh(moment)
    return energies.clamp_min(0) / energies.clamp_min(0).sum(), directions


@torch.no_grad()
def _projected(task: RepairTask, activated: Directions, alpha: float) -> nn.Module:
    model = task.classifier.module(task.theta_hat)
    for name, (shares, directions) in activated.items():
        scaled = directions * (alpha * shares / ((alpha - 1) * shares + 1))
        weight = model.get_parameter(f"{name}.weight" if name else "weight")
        matrix = weight.flatten(1)
        weight.copy_((matrix @ (scaled @ directions.T).to(matrix)).view_as(weight))
    return model


def _accuracy(task: RepairTask, model: nn.Module) -> float:
    reached, share = fitness(task, model), task.tests.failure_share
    return share * reached.tuning_accuracy + (1 - share) * reached.guard_accuracy
