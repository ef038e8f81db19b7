"""The baselines that keep the others honest."""

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores

_strict = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_strict)
class Random:
    """A random order: the least a method must beat."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        values = torch.rand(len(task.fit), generator=task.generator, dtype=torch.float64)
        return InfluenceScores(task.fit.ids, values, unit="none", neutral=None)


@dataclass(frozen=True, config=_strict)
class Oracle:
    """1 for planted rows, 0 for the rest: the most a method can find."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        return InfluenceScores(task.fit.ids, task.fit.having(task.corrupted).double(), unit="none")


@dataclass(frozen=True, config=_strict)
class Loss:
    """−log p(z|θ̂): needs no failures at all, and finds mislabelled rows well where the model has not learnt them."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        return InfluenceScores(task.fit.ids, -task.log_lik_hat, neutral=UNLIKELY)


@dataclass(frozen=True, config=_strict)
class Margin:
    """The strongest other class's logit minus the given label's, under θ̂."""

    @torch.no_grad()
    def scores(self, task: RepairTask) -> InfluenceScores:
        margins = []
        for batch in task.fit.batches(500):
            batch = batch.to(task.theta_hat.device)
            logits = task.classifier.logits(task.theta_hat, batch.inputs)
            given = nn.functional.one_hot(batch.labels, logits.shape[1]).bool()
            others = logits.masked_fill(given, -torch.inf).amax(dim=1)
            margins.append((others - logits[given]).double().cpu())
        return InfluenceScores(task.fit.ids, torch.cat(margins), unit="logits")
