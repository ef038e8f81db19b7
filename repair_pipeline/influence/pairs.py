"""Linear influence of single training rows on single failures (Eq. 9, one z and one f at a time)."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.func import jvp

from repair_pipeline.continual.fisher import gradients_at_once
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import Examples, Theta

_BATCH = 500


def pairs(task: RepairTask, failures: Examples, rows: Examples, damping: float = 0.01) -> Float64[Tensor, "f r"]:
    """r̃(f, z) = −∇log p(f|θ̂)ᵀ P⁻¹ ∇log p(z|θ̂) with P = (2/γ) (diag F̂ + δI) and the posterior's own γ = 2/N.

    Positive is harmful: z opposes the correction of f. Nats. Symmetric in f and z. Summed over failures it is
    ``linear_gd`` with a diagonal F̂. Costs a gradient and a jvp over the longer side for each row of the shorter;
    memory is ``gradients_at_once`` × p.

    Args:
        damping: δ > 0 in units of the mean entry of diag F̂, as in ``NaturalGradient``.

    Raises:
        FloatingPointError: an influence is not finite.
    """
    precision = 2 / task.gamma(None) * (task.fisher + damping * task.fisher.mean())
    # Both sides come to the same values; a pass for each row of the shorter takes fewer passes.
    if len(rows) <= len(failures):
        influence = -_products(task, rows, failures, precision).T
    else:
        influence = -_products(task, failures, rows, precision)
    if not bool(torch.isfinite(influence).all()):
        raise FloatingPointError(
            f"influences of {len(rows)} rows on {len(failures)} failures are not all finite: "
            "the base model's outputs have diverged; train it with a smaller learning rate"
        )
    return influence


def _products(task: RepairTask, few: Examples, many: Examples, precision: Theta) -> Float64[Tensor, "few many"]:
    """∇log p(a|θ̂)ᵀ P⁻¹ ∇log p(b|θ̂) of every a of ``few`` and b of ``many``, one jvp at a time."""
    theta, products = task.theta_hat, torch.empty(len(few), len(many), dtype=torch.float64)
    done = 0
    for chunk in few.batches(gradients_at_once(theta)):
        for gradient in task.classifier.gradients(theta, chunk.to(theta.device)):
            direction, changes = gradient / precision, []
            for batch in many.batches(_BATCH):
                against = batch.to(theta.device)
                change = jvp(lambda theta, z=against: task.classifier(theta, z), (theta,), (direction,))[1]
                changes.append(change.detach().double().cpu())
            products[done] = torch.cat(changes)
            done += 1
            task.progress(done, len(few))
    return products
