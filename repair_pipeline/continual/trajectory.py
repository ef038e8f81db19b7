"""A plain-SGD trajectory and its backward replay (Hara et al., 2019)."""

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
"""S_0, …, S_{T−1}: the positions of the rows in each step's batch."""


def epochs_of_batches(rows: int, batch_size: int, epochs: int, generator: torch.Generator) -> Batches:
    """Shuffled epochs in batches of at most ``batch_size`` rows, whose sizes differ by at most one.

    So every row is used once per epoch with about the same weight; a short last batch would overweight its rows.
    """
    count = -(-rows // batch_size)
    return tuple(
        batch for _ in range(epochs) for batch in torch.randperm(rows, generator=generator).tensor_split(count)
    )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The states of θ_{t+1} = θ_t + η · mean of ∇log p(z|θ_t) over S_t, for t < T; every ``spacing``-th is stored."""

    checkpoints: Float[Tensor, "c p"]
    """θ_0, θ_s, θ_2s, … below T, and θ_T last."""
    batches: Batches
    learning_rate: float
    """η."""
    spacing: int
    """s; s = √T minimises the number of states in memory."""

    @property
    def end(self) -> Theta:
        """θ_T."""
        return self.checkpoints[-1]

    def backwards(self, log_lik: LogLikelihood, rows: Examples) -> Iterator[tuple[Theta, Int64[Tensor, " _"]]]:
        """θ_t and S_t for t = T−1, …, 0; states between checkpoints are recomputed. Memory s × p."""
        for start in reversed(range(0, len(self.batches), self.spacing)):
            segment = self.batches[start : start + self.spacing]
            states = [self.checkpoints[start // self.spacing]]
            for batch in segment[:-1]:
                states.append(_sgd_step(log_lik, states[-1], rows[batch], self.learning_rate))
            yield from zip(reversed(states), reversed(segment), strict=True)


def _sgd_step(log_lik: LogLikelihood, theta: Theta, batch: Examples, learning_rate: float) -> Theta:
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
    """T = len(batches) steps of plain SGD, without momentum or weight decay. Costs T batch gradients.

    Args:
        log_lik: log p(z|θ), whose batch mean is ascended.
        start: θ_0.
        rows: D.
        batches: positions in D, one tensor per step.
        learning_rate: η.
        spacing: number of steps between checkpoints.
        progress: called after each step.

    Raises:
        FloatingPointError: a state is not finite.
    """
    theta, checkpoints = start, [start]
    for step, batch in enumerate(batches, start=1):
        theta = _sgd_step(log_lik, theta, rows[batch], learning_rate)
        if step % spacing == 0 or step == len(batches):
            if not bool(torch.isfinite(theta).all()):
                raise FloatingPointError(
                    f"the SGD trajectory diverged by step {step} of {len(batches)}: "
                    f"use a learning rate below {learning_rate:g}"
                )
            checkpoints.append(theta)
        progress(step, len(batches))
    return Trajectory(torch.stack(checkpoints), batches, learning_rate, spacing)


def change_if_left_out(
    trajectory: Trajectory, log_lik: LogLikelihood, rows: Examples, gradient: Theta, progress: Progress = silent
) -> Float64[Tensor, " n"]:
    """The first-order change of an objective at θ_T if z is left out of every batch, for every z of D.

    Σ_t −(η/|S_t|) u_{t+1}ᵀ ∇log p(z|θ_t) over the steps whose batch contains z, where u_T is ``gradient`` and
    u_t = (I − η H_t) u_{t+1}, H_t the Hessian of the mean of −log p(z|θ_t) over S_t. The divisor |S_t| is not changed.
    Costs T batch gradients and T double backward passes: about five epochs of training per epoch.

    Args:
        trajectory: the run to replay.
        log_lik: log p(z|θ), as in the run.
        rows: D, as in the run.
        gradient: of the objective at θ_T.
        progress: called after each step.

    Returns:
        One value per row, in the objective's units, on the CPU.
    """
    values = torch.zeros(len(rows), dtype=torch.float64)
    u = gradient
    for done, (theta, batch) in enumerate(trajectory.backwards(log_lik, rows), start=1):
        theta = theta.detach().requires_grad_(True)
        weight = trajectory.learning_rate / len(batch)
        weights = theta.new_full((len(batch),), weight, requires_grad=True)
        with plain_kernels():  # fused ones have no second derivatives
            log_p = log_lik(theta, rows[batch].to(theta.device))
        # The step θ_{t+1} − θ_t is a function of θ_t and of the rows' weights. Its inner product with u has the
        # gradient −η H u by θ_t, and uᵀ ∇log p(z|θ_t) by the weight of each row of the batch.
        (step,) = torch.autograd.grad(weights @ log_p, theta, create_graph=True)
        by_theta, by_weight = torch.autograd.grad(step @ u, (theta, weights))
        values[batch] -= weight * by_weight.double().cpu()
        u = u + by_theta
        progress(done, len(trajectory.batches))
    return values
