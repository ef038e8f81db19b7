"""Self-influence (Pruthi et al., 2020, TracIn), at the last checkpoint."""

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.fisher import FisherKind, gradients_at_once, labels_of
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SelfInfluence:
    """‖∇log p(z|θ̂)‖²: how much a gradient step on z changes z's own loss. Uses no failures.

    The mean over D is the trace of the Fisher F̂ of the same kind, so a row's value divided by the sum is its share of
    the trace. Costs about one training epoch, times the number of classes for ``expected``.
    """

    fisher: FisherKind = "empirical"
    """The labels: ``empirical`` uses the given ones, as TracIn; ``expected`` averages over the model's predictive
    distribution; ``monte_carlo`` draws one label per row from it."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        theta = task.theta_hat
        labels = labels_of(self.fisher, task.classifier, task.generator)
        # Labels are drawn by position, so rows are sorted by id: scores do not depend on the order of rows.
        order = torch.from_numpy(np.argsort(task.fit.ids))
        values = torch.zeros(len(order), dtype=torch.float64)
        done = 0
        for at in order.split(gradients_at_once(theta)):
            for labelled, weights in labels(theta, task.fit[at].to(theta.device)):
                norms = task.classifier.gradients(theta, labelled).square().sum(dim=1, dtype=torch.float64)
                values[at] += (weights * norms).cpu()
            done += len(at)
            task.progress(done, len(order))
        return InfluenceScores(task.fit.ids, values, unit="squared gradient", neutral=None)
