"""Potion, a method from the unlearning literature."""

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.continual.fisher import gradients_at_once
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy
from repair_pipeline.types import Causes, Examples

_START = 1 / 25
"""The share to dampen at first, as a part of |C| / N; as published, like the two that follow."""
_STEP = 1.1
_MOST = 500
"""Shares that are tried at most."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Potion:
    """Shrink parameters that matter more to C than to D∖C until C is forgotten (Schoepf et al., DMLR 2024: Potion).

    The importance of θ_i to Z is the mean of |∂‖f(x,θ̂)‖₂/∂θ_i| over Z, with f the logits: no labels and no squares, so
    that outliers count less than in SSD (XLF). Where the importance to C is more than α times that to D∖C, θ_i is
    multiplied by the inverse of this ratio, at most 1. α is the percentile 100 − ln(1 + 100 s) of the ratios; s starts
    at |C|/(25 N) and grows by a tenth until the accuracy on C, at the given labels, is ρ times that of θ̂ (PTN search).
    Costs a pass of gradients over D, and a forward pass over C for each s.
    """

    rho: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """ρ, the share of θ̂'s accuracy on C that counts as forgotten; 0 to 0.75 are published."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        removed = task.fit.having(causes.as_set)
        forgotten = task.fit[removed]
        to_causes, to_rest = _importance(task, forgotten), _importance(task, task.fit[~removed])
        ratios = to_causes / to_rest
        finite = ratios[ratios.isfinite()].sort().values
        enough = self.rho * accuracy(task.classifier.module(task.theta_hat), forgotten)
        share = _START * len(forgotten) / len(task.fit)
        for tried in range(_MOST):
            alpha = _percentile(finite, 100 - math.log1p(100 * share))
            theta = torch.where(ratios > alpha, task.theta_hat * (1 / ratios).clamp(max=1), task.theta_hat)
            model = task.classifier.module(theta).eval()
            task.progress(tried + 1, _MOST)
            if accuracy(model, forgotten) <= enough:
                break
            share *= _STEP
        return model


def _importance(task: RepairTask, rows: Examples) -> Float[Tensor, " p"]:
    theta = task.theta_hat
    total = torch.zeros_like(theta, dtype=torch.float64)
    for batch in rows.batches(gradients_at_once(theta)):
        slopes = task.classifier.gradients(theta, batch.to(theta.device), of=_norm)
        total += slopes.abs().sum(dim=0, dtype=torch.float64)
    return (total / len(rows)).to(theta)


def _norm(logits: Float[Tensor, "n k"], labels: Tensor) -> Float[Tensor, " n"]:
    return logits.norm(dim=1)


def _percentile(ordered: Float[Tensor, " p"], percent: float) -> Tensor:
    """Interpolated linearly; ``torch.quantile`` is limited to 16 million values."""
    at = percent / 100 * (len(ordered) - 1)
    below = int(at)
    return ordered[below].lerp(ordered[min(below + 1, len(ordered) - 1)], at - below)
