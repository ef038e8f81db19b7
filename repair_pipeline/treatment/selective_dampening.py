"""Selective synaptic dampening: a peer from the unlearning literature."""

import torch
from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Causes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelectiveDampening:
    """Shrink the parameters that matter far more to C than to D (Foster et al., AAAI 2024: SSD).

    θ_i ← min(λ F̂_i(D) / F̂_i(C), 1) θ_i wherever F̂_i(C) > α F̂_i(D), with empirical Fishers that are means over rows.
    As C is part of D, F̂(C) ≤ (N / |C|) F̂(D): where |C| ≥ N/α, nothing is dampened. Costs one pass of gradients over C.
    """

    alpha: PositiveFloat = 10.0
    """α, how much more a parameter must matter to C; SSD's own."""
    strength: PositiveFloat = 1.0
    """λ of SSD: smaller dampens more."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        rows = task.fit[task.fit.having(causes.as_set)]
        ours = fisher_diagonal(task.classifier, task.theta_hat, rows, progress=task.progress)
        dampened = (self.strength * task.fisher / ours).clamp(max=1) * task.theta_hat
        theta = torch.where(ours > self.alpha * task.fisher, dampened, task.theta_hat)
        return task.classifier.module(theta).eval()
