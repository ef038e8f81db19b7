"""Linear influence of single training rows on single failures (Eq. 9 for each pair of z and f)."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.continual.fisher import gradients_at_once
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, Theta


def pairs(task: RepairTask, failures: Examples, rows: Examples, damping: float = 0.01) -> Float64[Tensor, "f r"]:
    """r̃(f, z) = −∇log p(f|θ̂)ᵀ P⁻¹ ∇log p(z|θ̂) with P = (2/γ) (diag F̂ + δI) and the posterior's γ = 2/N.

    In nats; positive is harmful: z opposes the correction of f. Symmetric in f and z. The sum over failures equals
    ``linear_gd`` with a diagonal F̂. Costs one gradient per row of the shorter side, and one per row of the longer side
    for each ``gradients_at_once`` rows of the shorter side. Memory is twice ``gradients_at_once`` × p.

    Args:
        task: gives the model, its Fisher and N.
        failures: f.
        rows: z.
        damping: δ > 0 in units of the mean entry of diag F̂, as in ``NaturalGradient``.

    Returns:
        (failures, rows), float64 on the CPU.

    Raises:
        FloatingPointError: an influence is not finite.
    """
    precision = 2 / task.gamma(None) * (task.fisher + damping * task.fisher.mean())
    # The result is symmetric; chunking the shorter side needs fewer passes.
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
    """∇log p(a|θ̂)ᵀ P⁻¹ ∇log p(b|θ̂) for every a in ``few`` and b in ``many``."""
    theta, size = task.theta_hat, gradients_at_once(task.theta_hat)
    products, done = torch.empty(len(few), len(many), dtype=torch.float64), 0
    passes = -(-len(few) // size)
    for start in range(0, len(few), size):
        chunk = few[start : start + size].to(theta.device)
        directions = task.classifier.gradients(theta, chunk) / precision
        for at in range(0, len(many), size):
            gradients = task.classifier.gradients(theta, many[at : at + size].to(theta.device))
            products[start : start + size, at : at + size] = directions @ gradients.T
            done += len(gradients)
            task.progress(done, passes * len(many))
    return products
