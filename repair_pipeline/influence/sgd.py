"""SGD-influence (Hara et al., 2019): the effect of leaving a row out of an SGD trajectory."""

import math

import numpy as np
import torch
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.backward import gradient
from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.continual.posterior import Factor
from repair_pipeline.continual.trajectory import change_if_left_out, epochs_of_batches, run_sgd
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SGDInfluence(QueryBased):
    """The first-order change of Σ power · log p(Z|θ_T) if z is left out of T further SGD steps over D from θ̂.

    In nats; positive if the failures become more likely without z. The trajectory belongs to the method and is kept in
    memory; a step costs about five batch gradients.

    Deviation: Hara et al. replay the original training. The base model is trained by Adam, which their recursion does
    not cover, so the method trains further with plain SGD and replays those steps.
    """

    epochs: PositiveInt = 8
    learning_rate: PositiveFloat = 0.001
    """η: constant, without momentum. With a larger η the replay amplifies the sharpest directions of the loss and
    overestimates the effect of leaving a row out."""
    batch_size: PositiveInt = 64

    def scores(self, task: RepairTask) -> InfluenceScores:
        log_lik = task.classifier
        # Batches are drawn by position, so rows are sorted by id: scores do not depend on the order of rows.
        order = torch.from_numpy(np.argsort(task.fit.ids))
        rows = task.fit[order]
        batches = epochs_of_batches(len(rows), self.batch_size, self.epochs, task.generator)
        trajectory = run_sgd(
            log_lik,
            task.theta_hat,
            rows,
            batches,
            self.learning_rate,
            spacing=math.isqrt(len(batches)),
            progress=lambda done, total: task.progress(done, 2 * total),
        )
        factors = self.factors(task)
        values = torch.empty(len(rows), dtype=torch.float64)
        values[order] = change_if_left_out(
            trajectory,
            log_lik,
            rows,
            _gradient(log_lik, trajectory.end, factors),
            progress=lambda done, total: task.progress(total + done, 2 * total),
        )
        own_notes = {
            "steps": len(batches),
            "learning_rate": self.learning_rate,
            "checkpoints": len(trajectory.checkpoints),
            "checkpoint_megabytes": trajectory.checkpoints.nbytes / 1e6,
        }
        return InfluenceScores(task.fit.ids, values, notes={**own_notes, **self.notes(factors)})


def _gradient(log_lik: LogLikelihood, theta: Theta, factors: list[Factor]) -> Theta:
    """Σ power · ∇log p(Z|θ), with log p(Z|θ) a sum over Z."""
    theta = theta.detach().requires_grad_(True)
    total = torch.zeros_like(theta)
    for factor in factors:
        for batch in factor.examples.batches(500):
            total += factor.power * gradient(log_lik(theta, batch.to(theta.device)).sum(), theta)
    return total
