"""A plain-SGD trajectory over flat parameters, and its replay backwards (Hara et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.directional import plain_kernels
from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.types import Examples, Progress, Theta, silent

Batches = tuple[Int64[Tensor, " _"], ...]
"""S_0, …, S_{T−1}: the positions of the rows that each step reads."""


def epochs_of_batches(rows: int, batch_size: int, epochs: int, generator: torch.Generator) -> Batches:
    """Shuffled epochs in batches of at most ``batch_size``, whose sizes differ by one at most.

    So every row is read once an epoch and weighs the same in its batch: a short last batch would make its few rows
    count many times over.
    """
    count = -(-rows // batch_size)
    return tuple(
        batch for _ in range(epochs) for batch in torch.randperm(rows, generator=generator).tensor_split(count)
    )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """θ_0, …, θ_T of θ_{t+1} = θ_t + η · mean of ∇log p(z|θ_t) over S_t, of which every ``spacing``-th is kept."""

    checkpoints: Float[Tensor, "c p"]
    """θ_0, θ_s, θ_2s, … below T, and θ_T last."""
    batches: Batches
    learning_rate: float
    """η."""
    spacing: int
    """s; √T keeps fewest states in memory at once."""

    @property
    def end(self) -> Theta:
        """θ_T."""
        return self.checkpoints[-1]

    def backwards(self, log_lik: LogLikelihood, rows: Examples) -> Iterator[tuple[Theta, Int64[Tensor, " _"]]]:
        """θ_t and S_t for t = T−1, …, 0, the states between two checkpoints recomputed. Memory s × p."""
        for start in reversed(range(0, len(self.batches), self.spacing)):
            segment = self.batches[start : start + self.spacing]
            states = [self.checkpoints[start // self.spacing]]
            for batch in segment[:-1]:
                states.append(_stepped(log_lik, states[-1], rows[batch], self.learning_rate))
            yield from zip(reversed(states), reversed(segment), strict=True)


def _stepped(log_lik: LogLikelihood, theta: Theta, batch: Examples, learning_rate: float) -> Theta:
    theta = theta.detach().requires_grad_(True)
    ascent = gradient(log_lik(theta, batch.to(theta.device)).mean(), theta)
    return theta.detach() + learning_rate * ascent


def run_sgd(
    log_lik: LogLikelihood,
    start: Theta,
    rows: Examples,
    batches: Batches,
    learning_rate: float,
    spacing: int,
    progress: Progress = silent,
) -> Trajectory:
    """T = len(``batches``) steps of plain SGD from ``start``: no momentum, no decay. Costs T batch gradients.

    Raises:
        FloatingPointError: it diverges.
    """
    theta, checkpoints = start, [start]
    for step, batch in enumerate(batches, start=1):
        theta = _stepped(log_lik, theta, rows[batch], learning_rate)
        if step % spacing == 0 or step == len(batches):
            if not bool(torch.isfinite(theta).all()):
                raise FloatingPointError(
                    f"the SGD trajectory has diverged by step {step} of {len(batches)}: "
                    f"use a learning rate below {learning_rate:g}"
                )
            checkpoints.append(theta)
        progress(step, len(batches))
    return Trajectory(torch.stack(checkpoints), batches, learning_rate, spacing)


def change_if_left_out(
    trajectory: Trajectory, log_lik: LogLikelihood, rows: Examples, gradient: Theta, progress: Progress = silent
) -> Float64[Tensor, " n"]:
    """By how much an objective at θ_T changes, to first order, if z is left out of every batch, for every z of D.

    Σ_t −(η/|S_t|) u_{t+1}ᵀ ∇log p(z|θ_t) over the steps whose batch holds z, where u_T is ``gradient`` and
    u_t = (I − η H_t) u_{t+1}, H_t the Hessian of the mean of −log p(z|θ_t) over S_t. The batch keeps its divisor |S_t|.
    In the objective's units, on the CPU. Costs T batch gradients and T double backward passes, about five epochs of
    training an epoch.
    """
    values = torch.zeros(len(rows), dtype=torch.float64)
    u = gradient
    for done, (theta, batch) in enumerate(trajectory.backwards(log_lik, rows), start=1):
        theta = theta.detach().requires_grad_(True)
        weight = trajectory.learning_rate / len(batch)
        weights = theta.new_full((len(batch),), weight, requires_grad=True)
        with plain_kernels():  # fused ones have no second derivatives
            log_p = log_lik(theta, rows[batch].to(theta.device))
        # The step θ_{t+1} − θ_t as a function of θ_t and of how much each row weighs in it. Its derivative along u
        # by the one is −η H u, by the other uᵀ ∇log p(z|θ_t) of every row of the batch.
        (step,) = torch.autograd.grad(weights @ log_p, theta, create_graph=True)
        by_theta, by_weight = torch.autograd.grad(step @ u, (theta, weights))
        values[batch] -= weight * by_weight.double().cpu()
        u = u + by_theta
        progress(done, len(trajectory.batches))
    return values
