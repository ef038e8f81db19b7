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
    """``one_cycle``: 150 Adam steps towards the objective's optimum. ``paper``: App. C's early stopping, which varies
    with the seed between useful and useless (``docs/adr/0005``)."""
    guard: Literal["none", "joint"] = "joint"
    """``joint``: θ* also learns cases that the model gets right, so r̃ is conflict with F ∪ B. ``none``: the paper's."""
    guard_ratio: PositiveFloat | None = None
    """|B_q| / |F_q|; None draws on the whole guard pool (``docs/adr/0007``)."""
    guard_rho: PositiveFloat = 1.0
    """ρ, guard cases per failure in every pass: the guard is the tempered factor p(B_q|θ)^τ, τ = ρ|F_q| / |B_q|."""
    gamma: PositiveFloat | None = None
    """γ of the precision (2/γ) F̂; None is the posterior's own, 2/N."""
    prior: NonNegativeFloat = 0.0
    """λ of Eq. 10; 0 in the paper's experiments."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        failures = task.tests.query
        guard = self._guard(task) if self.guard == "joint" else None
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
                "guard_rho": self.guard_rho if guard else 0.0,
            },
        )

    def _guard(self, task: RepairTask) -> Factor:
        pool, failures = task.tests.guard, len(task.tests.query)
        count = len(pool) if self.guard_ratio is None else max(1, round(self.guard_ratio * failures))
        cases = task.draw(pool, count)
        return Factor(cases, power=self.guard_rho * failures / len(cases))

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
