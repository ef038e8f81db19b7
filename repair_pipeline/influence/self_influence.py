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
    """‖∇log p(z|θ̂)‖²: how much a step on z changes z's own loss. Needs no failures.

    The mean over D is the trace of the Fisher F̂ of the same kind, so a row's value over their sum is its share of that
    trace. Costs about a training epoch, times the number of classes for ``expected``.
    """

    fisher: FisherKind = "empirical"
    """Whose labels: the given ones, as TracIn; or the model's own, whatever the row's label is, in expectation over the
    classes (``expected``) or drawn once a row (``monte_carlo``)."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        theta = task.theta_hat
        labels = labels_of(self.fisher, task.classifier, task.generator)
        # Labels are drawn by position, so rows stand in the order of their ids: a score goes with its row.
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
