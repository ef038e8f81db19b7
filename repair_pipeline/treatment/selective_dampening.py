"""Selective synaptic dampening, a method from the unlearning literature."""

import torch
from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Causes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelectiveDampening:
    """Shrink the parameters that are far more important for C than for D (Foster et al., AAAI 2024: SSD).

    θ_i ← min(λ F̂_i(D) / F̂_i(C), 1) θ_i where F̂_i(C) > α F̂_i(D), with empirical Fishers that are means over rows.
    As C is part of D, F̂(C) ≤ (N / |C|) F̂(D): if |C| ≥ N/α, nothing is dampened. Costs one pass of gradients over C.
    """

    alpha: PositiveFloat = 10.0
    """α, the ratio of importances above which a parameter is dampened; as published."""
    strength: PositiveFloat = 1.0
    """λ of SSD; a smaller λ dampens more."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        rows = task.fit[task.fit.having(causes.as_set)]
        causes_fisher = fisher_diagonal(task.classifier, task.theta_hat, rows, progress=task.progress)
        dampened = (self.strength * task.fisher / causes_fisher).clamp(max=1) * task.theta_hat
        theta = torch.where(causes_fisher > self.alpha * task.fisher, dampened, task.theta_hat)
        return task.classifier.module(theta).eval()
