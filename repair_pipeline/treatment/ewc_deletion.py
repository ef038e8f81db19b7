"""EWC-deletion (Eq. 15)."""

from typing import Annotated

from pydantic import ConfigDict, Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import forget
from repair_pipeline.continual.likelihood import log_likelihoods
from repair_pipeline.continual.maximise import EarlyStopped
from repair_pipeline.continual.posterior import laplace
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.training.fit import accuracy
from repair_pipeline.types import Causes, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCDeletion:
    """forget(EWC, C): ascend −log p(C|θ) − (1/γ)(θ−θ̂)ᵀF̂(θ−θ̂) from θ̂.

    The objective grows without bound as p(C|θ) → 0, so the stopping rule is part of the method: the θ is kept that
    gives query_tuning's labels the highest mean probability while guard accuracy is at least 1 − ``tolerance``. The
    start counts, so a repair that would break more than that is not made.
    """

    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's own, 2/N."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """How much of the guard, all of it right under θ̂, may be lost."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        def tuning_probability(theta: Theta) -> float:
            if accuracy(task.classifier.module(theta), task.tests.guard) < 1 - self.tolerance:
                return -float("inf")
            return log_likelihoods(task.classifier, theta, task.tests.query_tuning).exp().mean().item()

        ascent = EarlyStopped(
            task.generator,
            tuning_probability,
            learning_rate=1e-4,
            batch_size=64,
            patience=10,
            max_steps=200,
            check_every=1,
            progress=task.progress,
        )
        q = laplace(task.theta_hat, task.fisher, task.gamma(self.gamma))
        # Only the mean becomes the repaired model, so the updated precision is not computed.
        forgotten = forget(EWC(ascent, precision="frozen"), q, task.fit[task.fit.having(causes.as_set)], task.classifier)
        return task.classifier.module(forgotten.mean).eval()
