"""Stochastic maximisation of a log posterior over flat parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.backward import gradient
from repair_pipeline.training.stopping import Patience
from repair_pipeline.types import Progress, Theta, silent

Objective = Callable[[Theta, Tensor], Float[Tensor, ""]]
"""(θ, positions of a batch) → an estimate of the log posterior in nats, unbiased for batches drawn by weight."""

Weights = Float[Tensor, " n"]
"""The relative frequency with which each example is drawn; ≥ 0."""


@runtime_checkable
class Maximise(Protocol):
    """An optimiser together with its stopping rule."""

    def __call__(self, objective: Objective, weights: Weights, start: Theta) -> Theta:
        """An approximate argmax of the objective.

        Args:
            objective: estimated on batches of examples.
            weights: by which the batches are drawn.
            start: the initial θ.
        """


def _batches(weights: Weights, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """An endless iterator of equally sized batches from shuffled epochs.

    Each epoch contains an example with probability weight / largest weight. So a large set with a small weight
    contributes different rows in every epoch, and does not dominate any batch. Batches continue from one epoch into the
    next: if their size varied, means over batches would favour the rows that are in every epoch.
    """
    shares = (weights.double() / weights.max()).cpu()
    size = min(batch_size, round(shares.sum().item()))
    queue = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(queue) < size:
            order = torch.randperm(len(shares), generator=generator)
            # Systematic sampling, so that the size of epochs varies by at most one row.
            marks = (shares[order].cumsum(0) + torch.rand((), generator=generator)).floor()
            kept = order[marks.diff(prepend=torch.zeros(1)) > 0]
            queue = torch.cat([queue, kept[torch.randperm(len(kept), generator=generator)]])
        yield queue[:size]
        queue = queue[size:]


def _ascend(optimiser: torch.optim.Optimizer, theta: Tensor, value: Tensor) -> None:
    theta.grad = gradient(-value, theta)
    optimiser.step()


@dataclass(frozen=True, eq=False)
class OneCycle:
    """A fixed number of Adam steps with a one-cycle learning rate, without early stopping: stable across seeds.

    The learning rate rises to ``peak`` and falls to almost zero, so θ approaches an optimum of the objective. With a
    ``score`` (higher is better), the best θ among the start and every fifth step is returned instead of the last.
    """

    generator: torch.Generator
    steps: int = 150
    peak: float = 3e-3
    batch_size: int = 128
    score: Callable[[Theta], float] | None = None
    progress: Progress = silent

    def __call__(self, objective: Objective, weights: Weights, start: Theta) -> Theta:
        theta = start.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([theta], lr=self.peak)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.peak, total_steps=self.steps)
        batches = _batches(weights, self.batch_size, self.generator)
        best, highest = start, self.score(start) if self.score else 0.0
        for step in range(1, self.steps + 1):
            _ascend(optimiser, theta, objective(theta, next(batches)))
            schedule.step()
            self.progress(step, self.steps)
            if self.score and step % 5 == 0 and (score := self.score(theta.detach())) > highest:
                best, highest = theta.detach().clone(), score
        return best if self.score else theta.detach()


@dataclass(frozen=True, eq=False)
class EarlyStopped:
    """Adam that stops after ``patience`` checks without a better ``score``, and returns the best θ checked.

    The paper's rule for Eq. 10 (App. C). Eq. 15 needs it, because its optimum lies at infinity.
    """

    generator: torch.Generator
    score: Callable[[Theta], float]
    """Called with θ at every check, including the start; higher is better."""
    learning_rate: float
    batch_size: int
    patience: int
    max_steps: int
    check_every: int
    progress: Progress = silent

    def __call__(self, objective: Objective, weights: Weights, start: Theta) -> Theta:
        theta = start.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([theta], lr=self.learning_rate)
        batches = _batches(weights, self.batch_size, self.generator)
        patience, best = Patience(self.patience), start
        patience.improves(self.score(start))
        for step in range(1, self.max_steps + 1):
            _ascend(optimiser, theta, objective(theta, next(batches)))
            self.progress(step, self.max_steps)
            if step % self.check_every == 0:
                if patience.improves(self.score(theta.detach())):
                    best = theta.detach().clone()
                elif patience.spent:
                    break
        return best
