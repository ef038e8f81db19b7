"""Training further from θ̂: by App. C's scheme, by the owner's recipe, or carefully where no recipe is known."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.models.copying import copied
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import Schedule, mean_probability
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.training.protocol import seeded
from repair_pipeline.training.stopping import Patience
from repair_pipeline.treatment.fitness import fitness
from repair_pipeline.types import Examples

RATES = (1e-3, 3e-4, 1e-4)
"""Learning rates of Adam that are tried for a model whose recipe is unknown."""
_CHECKS = 4
"""Checks for stopping in an epoch."""
_PATIENCE = 12
"""Checks without improvement after which training stops."""
TOLERANCE = 0.02
"""The share of the watched guard rows that may be lost."""
_STEPS = 10
"""Points on the line from θ̂ to what fine-tuning reached."""

State = Mapping[str, Tensor]


def finetuned(
    task: RepairTask,
    rows: Examples,
    validation: Examples,
    targets: Float[Tensor, "n *k"] | None = None,
    models: int = 1,
) -> nn.Module:
    """The model after training from θ̂ on ``rows``.

    A model that App. C's scheme trained is trained further by it. Any other must not be damaged by an optimiser or an
    augmentation that it does not know: it is trained by the owner's recipe, or without one by ``careful``, and the
    result is the best point on the line from θ̂ to what was reached (``between``).

    Args:
        task: gives θ̂, the recipe, and the rows that are monitored.
        rows: n training rows.
        validation: rows for early stopping by App. C.
        targets: soft labels in place of the labels of ``rows``.
        models: number of fine-tunings whose weights are averaged.
    """

    def once() -> nn.Module:
        if task.unknown_recipe:
            return careful(task, rows, targets)
        training = Schedule() if isinstance(task.training, Schedule) else task.training
        start = task.classifier.module(task.theta_hat)
        return training.fit(
            start, rows, validation, task.generator, start="trained", targets=targets, progress=task.progress
        )

    reached = average([once() for _ in range(models)]) if models > 1 else once()
    return between(task, reached) if task.monitored else reached


def careful(task: RepairTask, rows: Examples, targets: Float[Tensor, "n *k"] | None = None) -> nn.Module:
    """Adam from θ̂ with frozen buffers, at the rate that is best after one epoch, stopped four times an epoch.

    Rates, and the point that is returned, are compared by ``clean_score``.
    """
    start = task.classifier.module(task.theta_hat)
    first = clean_score(task, start)
    tried = [_Run(task, start, first, rate, rows, targets) for rate in RATES]
    for run in tried:
        run.epoch()
    best = max(tried, key=lambda run: run.score)
    epochs = Schedule().max_epochs
    for done in range(1, epochs):
        task.progress(done, epochs)
        if best.spent:
            break
        best.epoch()
    return best.model()


def clean_score(task: RepairTask, model: nn.Module) -> float:
    """Mean p(y|x) over query_tuning and the watched guard, which training does not read, at their natural mix."""
    (watched, _), share = watched_and_trained(task.tests.guard), task.tests.failure_share
    tuning = mean_probability(model, task.tests.query_tuning)
    return share * tuning + (1 - share) * mean_probability(model, watched) if len(watched) else tuning


def between(task: RepairTask, reached: nn.Module) -> nn.Module:
    """The model at θ̂ + α (θ' − θ̂), α from 0 to 1, that repairs most of query_tuning within the tolerance.

    Buffers, such as the statistics of batch normalisation, are interpolated too. If every other point loses more than
    ``TOLERANCE`` of the watched guard, it is θ̂ itself.
    """
    base = task.classifier.module(task.theta_hat)
    start, end = base.state_dict(), reached.state_dict()
    points = [_on_line(base, start, end, step / _STEPS) for step in range(_STEPS + 1)]
    return max(points, key=lambda model: fitness(task, model).worth(TOLERANCE))


def average(models: Sequence[nn.Module]) -> nn.Module:
    """The model whose parameters and buffers are the means of those of ``models``, all trained from one θ̂."""
    states = [model.state_dict() for model in models]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    result = copied(models[0])
    result.load_state_dict(mean)
    return result.eval()


def _on_line(base: nn.Module, start: State, end: State, share: float) -> nn.Module:
    model = copied(base)
    model.load_state_dict(
        {
            name: value.lerp(end[name], share) if value.is_floating_point() else end[name]
            for name, value in start.items()
        }
    )
    return model.eval()


class _Run:
    """One fine-tuning that can be continued."""

    def __init__(
        self,
        task: RepairTask,
        start: nn.Module,
        score: float,
        rate: float,
        rows: Examples,
        targets: Float[Tensor, "n *k"] | None,
    ) -> None:
        self._task, self._rows, self._targets = task, rows, targets
        self._model = copied(start)
        self._optimiser = torch.optim.Adam(self._model.parameters(), lr=rate)
        self._patience = Patience(_PATIENCE)
        self._best = copy.deepcopy(start.state_dict())
        self.score = score
        self._patience.improves(score)

    @property
    def spent(self) -> bool:
        return self._patience.spent

    def model(self) -> nn.Module:
        """The model at the best point checked, θ̂ included."""
        result = copied(self._model)
        result.load_state_dict(self._best)
        return result.eval()

    def epoch(self) -> None:
        device, generator = self._task.theta_hat.device, self._task.generator
        batches = torch.randperm(len(self._rows), generator=generator).split(Schedule().batch_size)
        every = max(1, len(batches) // _CHECKS)
        with seeded(generator):
            for number, chosen in enumerate(batches, start=1):
                batch = self._rows[chosen].to(device)
                self._optimiser.zero_grad()
                outputs = require_tensor(self._model.eval()(batch.inputs))
                labels = batch.labels if self._targets is None else self._targets[chosen].to(outputs)
                self._task.classifier.likelihood.loss(outputs, labels).backward()
                self._optimiser.step()
                if number % every == 0:
                    self._check()

    def _check(self) -> None:
        score = clean_score(self._task, self._model)
        if self._patience.improves(score):
            self.score, self._best = score, copy.deepcopy(self._model.state_dict())
