"""EWC-deletion (Eq. 15)."""

from typing import Annotated

from pydantic import ConfigDict, Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import forget
from repair_pipeline.continual.maximise import EarlyStopped
from repair_pipeline.continual.posterior import laplace
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.training.fit import accuracy
from repair_pipeline.types import Causes, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCDeletion:
    """forget(EWC, C): ascend −log p(C|θ) − (1/γ)(θ−θ̂)ᵀF̂(θ−θ̂) from θ̂.

    The objective grows without bound as p(C|θ) → 0, so the stopping rule is part of the method: of the θ on the way
    whose guard accuracy is at least 1 − ``tolerance``, the one with the highest accuracy on query_tuning is kept
    (Sec. 4.2 stops by query accuracy alone, which does not see what breaks). The start counts: a deletion that repairs
    nothing within the tolerance is not made.
    """

    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's own, 2/N."""
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """How much of the guard, all of it right under θ̂, may be lost; measured on 1,000 of its rows at the most."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        # 1,000 rows tell an accuracy of 0.98 to within 0.005.
        guard = task.tests.guard[:1000]

        def tuning_accuracy(theta: Theta) -> float:
            model = task.classifier.module(theta)
            safe = accuracy(model, guard) >= 1 - self.tolerance
            return accuracy(model, task.tests.query_tuning) if safe else -float("inf")

        ascent = EarlyStopped(
            task.generator,
            tuning_accuracy,
            learning_rate=1e-5,
            batch_size=64,
            patience=10,
            max_steps=500,
            check_every=5,
            progress=task.progress,
        )
        q = laplace(task.theta_hat, task.fisher, task.gamma(self.gamma))
        # Only the mean becomes the repaired model, so the updated precision is not computed.
        forgotten = forget(
            EWC(ascent, precision="frozen"), q, task.fit[task.fit.having(causes.as_set)], task.classifier
        )
        return task.classifier.module(forgotten.mean).eval()
