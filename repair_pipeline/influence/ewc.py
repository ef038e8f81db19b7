"""EWC-influence (Eq. 10, 11; Algorithm 1, step I)."""

from typing import Literal

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.likelihood import log_likelihoods
from repair_pipeline.continual.maximise import EarlyStopped, Maximise, OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline.continual.reading import difference
from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import InfluenceScores, Theta


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EWCInfluence:
    """learn(EWC, F_q), then r̃(z) = log p(z|θ̂) − log p(z|θ*)."""

    stopping: Literal["one_cycle", "paper"] = "one_cycle"
    """``one_cycle``: 150 Adam steps to an optimum of the objective. ``paper``: App. C's early stopping, which varies
    with the seed between useful and useless (``docs/adr/0005``)."""
    guard: Literal["none", "joint"] = "joint"
    """``joint``: θ* also learns |F_q| cases that the model gets right, so r̃ is conflict with F ∪ B. ``none``: the
    paper's."""
    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's own, 2/N."""
    prior: NonNegativeFloat = 0.0
    """λ of Eq. 10; 0 in the paper's experiments."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        failures = task.tests.query
        # |B_q| = |F_q| rows at power 1 are one guard case per failure: ρ = τ = 1.
        guard = Factor(task.draw(task.tests.guard, len(failures)), 1) if self.guard == "joint" else None
        # Eq. 11 reads the mean alone, so the updated precision is not computed.
        ewc = EWC(self._maximise(task), precision="frozen")
        gamma = task.gamma(self.gamma)
        q = laplace(task.theta_hat, task.fisher, gamma, self.prior)
        values = difference(task, learn(ewc, q, failures, task.classifier, guard))
        return InfluenceScores(
            task.fit.ids,
            values,
            notes={
                "gamma": gamma,
                "failures": len(failures),
                "guard_cases": len(guard.examples) if guard else 0,
                "guard_tau": guard.power if guard else 0.0,
                "guard_rho": guard.power * len(guard.examples) / len(failures) if guard else 0.0,
            },
        )

    def _maximise(self, task: RepairTask) -> Maximise:
        if self.stopping == "one_cycle":
            return OneCycle(task.generator, progress=task.progress)

        def tuning_log_lik(theta: Theta) -> float:
            return log_likelihoods(task.classifier, theta, task.tests.query_tuning).mean().item()

        epoch = -(-len(task.tests.query) // 64)
        return EarlyStopped(
            task.generator,
            tuning_log_lik,
            learning_rate=1e-3,
            batch_size=64,
            patience=5,
            max_steps=100 * epoch,
            check_every=epoch,
            progress=task.progress,
        )
