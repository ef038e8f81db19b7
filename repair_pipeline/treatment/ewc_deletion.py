"""EWC-deletion (Eq. 15), and its bounded form."""

from typing import Literal

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.maximise import Maximise, OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline.problem.query import early_stopped, watched_and_trained
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment.guarded import Tolerance, repair_within_guard
from repair_pipeline.types import Causes, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCDeletion:
    """forget(EWC, C) from θ̂: maximise −log p(C|θ) − (1/γ)(θ−θ̂)ᵀF̂(θ−θ̂) (Eq. 15), by default in a bounded form.

    Eq. 15 is unbounded as p(C|θ) → 0, and destroys the model before it repairs it. Deviation: by default the term of a
    cause is log(1 − p(z|θ)) ≤ 0, and p(B_q|θ)^τ preserves what the model gets right
    (``docs/adr/0009-bounded-deletion.md``).
    """

    objective: Literal["unlikelihood", "likelihood", "nothing"] = "unlikelihood"
    """``likelihood``: −log p(C|θ), as in Eq. 15. ``unlikelihood``: Σ_C log(1 − p(z|θ)). ``nothing``: a control that
    deletes nothing and is otherwise identical: its repairs are due to the guard and the stopping rule."""
    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's value, 2/N."""
    guard_rho: NonNegativeFloat = 1.0
    """ρ, guard cases per cause and epoch: τ = ρ|C| / |B_q|. 0 as in Eq. 15."""
    stopping: Literal["guarded", "paper"] = "guarded"
    """``guarded``: the best θ of 150 steps (θ̂ included) by ``repair_within_guard``. ``paper``: App. C's scheme, stopped
    by accuracy on query_tuning (Sec. 4.2), which ignores damage to other rows."""
    tolerance: Tolerance = 0.02

    def used_gamma(self, task: RepairTask) -> float:
        return task.gamma(self.gamma)

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        if not causes.ids:
            return task.classifier.module(task.theta_hat)
        rows = task.fit[task.fit.having(causes.as_set)]
        _, guard = watched_and_trained(task.tests.guard)
        factors = [] if self.objective == "nothing" else [Factor(rows, -1)]
        if self.guard_rho > 0 and len(guard) > 0:
            factors.append(Factor(guard, self.guard_rho * len(rows) / len(guard)))

        def tuning_accuracy(theta: Theta) -> float:
            return accuracy(task.classifier.module(theta), task.tests.query_tuning)

        if not factors:
            return task.classifier.module(task.theta_hat)
        if self.stopping == "paper":
            maximise: Maximise = early_stopped(task, rows, tuning_accuracy)
        else:
            maximise = OneCycle(task.generator, score=repair_within_guard(task, self.tolerance), progress=task.progress)
        # Only the mean becomes the repaired model, so the updated precision is not computed.
        learner = EWC(
            maximise, precision="frozen", deleted="likelihood" if self.objective == "likelihood" else "unlikelihood"
        )
        q = laplace(task.theta_hat, task.fisher, task.gamma(self.gamma))
        return task.classifier.module(learner.update(q, factors, task.classifier).mean).eval()
