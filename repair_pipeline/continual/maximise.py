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
"""How often each example is to be drawn, relative to the others."""


@runtime_checkable
class Maximise(Protocol):
    """An optimiser together with its stopping rule."""

    def __call__(self, objective: Objective, weights: Weights, start: Theta) -> Theta:
        """argmax_θ of ``objective``, from ``start``, over batches of examples drawn by ``weights``."""


def _batches(weights: Weights, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of one size from shuffled epochs, for ever.

    An epoch holds an example with probability weight / largest weight, drawn afresh. So a large set that is tempered to
    a small weight shows other rows every time, and no batch is swamped by it. Batches run on from one epoch into the
    next: if their size varied with the draw, their mean would favour the rows that are always there.
    """
    shares = (weights.double() / weights.max()).cpu()
    size = min(batch_size, round(shares.sum().item()))
    queue = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(queue) < size:
            order = torch.randperm(len(shares), generator=generator)
            # Systematically, so that an epoch's size varies by one row at most.
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
    """A fixed number of Adam steps under a one-cycle learning rate: no early stopping, so nothing to be unlucky with.

    The learning rate rises to ``peak`` and falls to almost nothing, towards an optimum of the objective itself. With a
    ``score``, higher being better, the best θ of the start and of every fifth step is returned instead of the last.
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
    """Adam that stops when ``score`` has not improved for ``patience`` checks, and returns the best θ it checked.

    The paper's rule for Eq. 10 (App. C), and what bounds Eq. 15, whose optimum lies at infinity.
    """

    generator: torch.Generator
    score: Callable[[Theta], float]
    """Higher is better; called with θ at every check, the start included."""
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
