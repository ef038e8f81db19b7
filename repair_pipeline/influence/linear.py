"""Linear influence (Eq. 8, 9): Koh & Liang's influence function."""

from typing import Literal

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.natural_gradient import PointEstimate
from repair_pipeline.continual.solve import TOLERANCE, ConjugateResiduals, Solver, StochasticApproximation
from repair_pipeline.problem.natural_gradient import NaturalGradient
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.problem.reading import linear
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LinearInfluence(NaturalGradient, QueryBased):
    """learn(NaturalGradientStep, F_q), then r̃(z) = −γ ∇log p(F_q|θ̂)ᵀ (F̂ + δI)⁻¹ ∇log p(z|θ̂), in nats."""

    solver: Literal["gd", "sa"] = "gd"
    """How (F̂ + δI) v = ∇log p(F_q|θ̂) is solved: ``gd`` by conjugate residuals, ``sa`` by stochastic approximation.
    ``notes`` hold the relative residual, and whether it counts as converged."""

    @model_validator(mode="after")
    def _closed_form_needs_no_solver(self) -> "LinearInfluence":
        if self.solver == "sa" and self.curvature != "exact":
            raise ValueError(
                f"solver=sa is for curvature=exact; {self.curvature} is solved in closed form: leave it out"
            )
        return self

    def scores(self, task: RepairTask) -> InfluenceScores:
        factors = self.factors(task)
        solver: Solver = (
            ConjugateResiduals(progress=task.progress)
            if self.solver == "gd"
            else StochasticApproximation(task.generator, progress=task.progress)
        )
        learner = self.step(task, solver)
        q = PointEstimate(task.theta_hat)
        updated = learner.update(q, factors, task.classifier)
        notes = {
            "gamma": learner.gamma,
            "damping": learner.damping,
            "residual": updated.residual,
            "converged": float(updated.residual <= TOLERANCE),
        }
        return InfluenceScores(task.fit.ids, linear(task, q, updated), notes={**notes, **self.notes(factors)})
