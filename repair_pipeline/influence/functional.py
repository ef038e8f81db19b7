"""Influence by functional regularisation (beyond the paper)."""

from collections.abc import Mapping

from pydantic import ConfigDict, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.functional import FunctionalPosterior, FunctionalRegularisation
from repair_pipeline.influence.learnt import LearntInfluence
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FunctionalInfluence(LearntInfluence):
    """learn(FunctionalRegularisation, F_q), then the ``reading`` of θ̂ and θ*. Needs no Fisher."""

    gamma: PositiveFloat | None = None
    """γ of the weight 2/γ of the mean KL; None is the posterior's value, 2/N."""

    def posterior(self, task: RepairTask) -> FunctionalPosterior:
        return FunctionalPosterior(task.theta_hat, task.classifier, task.fit, task.gamma(self.gamma))

    def learner(self, task: RepairTask) -> FunctionalRegularisation:
        return FunctionalRegularisation(self.maximise(task), task.generator)

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        return {"gamma": task.gamma(self.gamma)}
