"""Linear influence of single training rows on single failures (Eq. 9 for each pair of z and f)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from repair_pipeline.continual.curvature import Factored
from repair_pipeline.continual.fisher import gradients_at_once
from repair_pipeline.continual.posterior import Diagonal
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, Theta

_HELD = 2**30
"""Bytes of gradients of the shorter side that are held while the longer side is read: 1 GiB."""


def pairs(
    task: RepairTask, failures: Examples, rows: Examples, damping: float = 0.01, curvature: Factored | None = None
) -> Float64[Tensor, "f r"]:
    """r̃(f, z) = −∇log p(f|θ̂)ᵀ P⁻¹ ∇log p(z|θ̂) with P = (2/γ) (F̂ + δI) and the posterior's γ = 2/N.

    In nats; positive is harmful: z opposes the correction of f. Symmetric in f and z. The sum over failures equals
    ``linear_gd`` with this F̂. Costs ``gradients_needed`` gradients. Memory is 1 GiB for gradients of the shorter
    side, and ``gradients_at_once`` gradients of the longer side.

    Args:
        task: gives the model, its Fisher and N.
        failures: f.
        rows: z.
        damping: δ > 0 in units of the mean entry of diag F̂, as in ``NaturalGradient``.
        curvature: F̂; None is its diagonal.

    Returns:
        (failures, rows), float64 on the CPU.

    Raises:
        FloatingPointError: an influence is not finite.
    """
    curvature, delta = curvature or Diagonal(task.fisher), damping * task.fisher.mean().item()

    def solve(gradients: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        return task.gamma(None) / 2 * curvature.solve(delta, gradients)

    # The result is symmetric; holding the shorter side needs fewer passes.
    if len(rows) <= len(failures):
        influence = -_products(task, rows, failures, solve).T
    else:
        influence = -_products(task, failures, rows, solve)
    if not bool(torch.isfinite(influence).all()):
        raise FloatingPointError(
            f"influences of {len(rows)} rows on {len(failures)} failures are not all finite: "
            "the base model's outputs have diverged; train it with a smaller learning rate"
        )
    return influence


def gradients_needed(theta: Theta, failures: int, rows: int) -> int:
    """The number of per-sample gradients that ``pairs`` computes for so many failures and rows.

    One for each row of the shorter side, and one for each row of the longer side and each GiB of the shorter side's
    gradients.
    """
    few, many = sorted((failures, rows))
    return few + math.ceil(few / _held(theta)) * many


def affordable_rows(theta: Theta, fit: int, failures: int, most: int) -> int:
    """How many rows, at most ``most``, are paired with the failures at the price of ``fit + failures`` gradients.

    That is about the price of the Fisher. It suffices for every row whose gradient fits into 1 GiB with the others'.

    Args:
        theta: θ̂; its size determines how many gradients fit into memory.
        fit: N, the number of rows of D.
        failures: the number of failures.
        most: the number of rows wanted.
    """
    return max(rows for rows in range(min(most, fit) + 1) if gradients_needed(theta, failures, rows) <= fit + failures)


def _held(theta: Theta) -> int:
    return max(1, _HELD // (theta.element_size() * theta.numel()))


def _products(
    task: RepairTask, few: Examples, many: Examples, solve: Callable[[Tensor], Tensor]
) -> Float64[Tensor, "few many"]:
    """∇log p(a|θ̂)ᵀ P⁻¹ ∇log p(b|θ̂) for every a in ``few`` and b in ``many``."""
    theta, done, total = task.theta_hat, 0, gradients_needed(task.theta_hat, len(few), len(many))

    def gradients(of: Examples) -> Iterator[Float[Tensor, "n p"]]:
        nonlocal done
        for batch in of.batches(gradients_at_once(theta)):
            yield task.classifier.gradients(theta, batch.to(theta.device))
            done += len(batch)
            task.progress(done, total)

    products = torch.empty(len(few), len(many), dtype=torch.float64)
    for start in range(0, len(few), _held(theta)):
        held = few[start : start + _held(theta)]
        directions, filled = theta.new_empty(len(held), len(theta)), 0
        for some in gradients(held):
            directions[filled : filled + len(some)] = solve(some)
            filled += len(some)
        at = 0
        for some in gradients(many):
            products[start : start + len(held), at : at + len(some)] = directions @ some.T
            at += len(some)
    return products
