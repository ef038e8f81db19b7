"""EWC-influence (Eq. 10, 11; Algorithm 1, step I)."""

from collections.abc import Mapping

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.fisher import FisherKind
from repair_pipeline.continual.posterior import Diagonal, Laplace, Scaled, laplace
from repair_pipeline.influence.learnt import LearntInfluence
from repair_pipeline.problem.curvature import CurvatureName, curvature_of
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCInfluence(LearntInfluence):
    """learn(EWC, F_q), then the ``reading`` of θ̂ and θ*; ``difference`` is Eq. 11: log p(z|θ̂) − log p(z|θ*)."""

    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's value, 2/N."""
    prior: NonNegativeFloat = 0.0
    """λ of Eq. 10; 0 in the paper's experiments."""

    fisher: FisherKind = "empirical"
    """The labels for F̂: ``empirical`` uses D's (the paper), ``expected`` all classes weighted by p(y|x,θ̂),
    ``monte_carlo`` one per row drawn from it."""
    curvature: CurvatureName = "diagonal"
    """What is kept of F̂. ``exact`` costs a product with F̂, about two epochs of training, for each of 150 steps."""

    def posterior(self, task: RepairTask) -> Laplace:
        gamma = task.gamma(self.gamma)
        curvature = curvature_of(task, self.curvature, self.fisher)
        if isinstance(curvature, Diagonal):
            return laplace(task.theta_hat, curvature.values, gamma, self.prior)
        return Laplace(task.theta_hat, Scaled(curvature, 2 / gamma, self.prior))

    def learner(self, task: RepairTask) -> EWC:
        # Readings use only the mean, so the updated precision is not computed.
        return EWC(self.maximise(task), precision="frozen")

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        return {"gamma": task.gamma(self.gamma)}
