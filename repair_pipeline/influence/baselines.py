"""Simple baselines, the random control and the oracle."""

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores

_strict = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_strict)
class Random:
    """A random order, which every method must beat."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        values = torch.rand(len(task.fit), generator=task.generator, dtype=torch.float64)
        return InfluenceScores(task.fit.ids, values, unit="none", neutral=None)


@dataclass(frozen=True, config=_strict)
class Oracle:
    """1 for planted rows, 0 for the rest: the upper bound of detection."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        return InfluenceScores(task.fit.ids, task.fit.having(task.corrupted).double(), unit="none")


@dataclass(frozen=True, config=_strict)
class Loss:
    """−log p(z|θ̂), in nats. Uses no failures; finds mislabelled rows well unless the model has memorised them."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        return InfluenceScores(task.fit.ids, -task.log_lik_hat, neutral=UNLIKELY)


@dataclass(frozen=True, config=_strict)
class Margin:
    """The largest logit of another class minus the given label's logit, under θ̂."""

    @torch.no_grad()
    def scores(self, task: RepairTask) -> InfluenceScores:
        margins = []
        for batch in task.fit.batches(500):
            batch = batch.to(task.theta_hat.device)
            outputs = task.classifier.logits(task.theta_hat, batch.inputs)
            margins.append(task.classifier.likelihood.lost_by(outputs, batch.labels).double().cpu())
        return InfluenceScores(task.fit.ids, torch.cat(margins), unit="logits")
