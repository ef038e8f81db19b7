"""Influence by variational continual learning (beyond the paper)."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from repair_pipeline.continual.vcl import VCL, MeanField
from repair_pipeline.influence.learnt import LearntInfluence
from repair_pipeline.problem.task import RepairTask


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VCLInfluence(LearntInfluence):
    """learn(VCL, F_q) with Gaussians q and q*, then the ``reading`` of both.

    By default that is −E_q*[log p(z|θ)]; with ``reading: difference`` E_q[log p(z|θ)] − E_q*[log p(z|θ)] (Eq. 7).
    """

    gamma: PositiveFloat | None = None
    """γ of q's precision (2/γ) F̂ + λI; None is the posterior's value, 2/N."""
    prior: PositiveFloat = 1e4
    """λ: the standard deviation is 1/√λ where F̂ is zero. Samples of θ must still be accurate models: on MNIST's guard
    cases they are with 1e4, while with 100 half of those cases are lost."""
    samples: PositiveInt = 5
    """Number of samples of θ for E_q, the same ones for q and q*."""
    stopping: Literal["one_cycle"] = "one_cycle"
    """Only this one, as the paper's rule scores a point estimate, not a Gaussian."""

    def posterior(self, task: RepairTask) -> MeanField:
        deviation = (2 / task.gamma(self.gamma) * task.fisher + self.prior).rsqrt()
        noise = torch.randn(self.samples, len(deviation), generator=task.generator, dtype=deviation.dtype)
        return MeanField(task.theta_hat, deviation, noise.to(deviation.device))

    def learner(self, task: RepairTask) -> VCL:
        return VCL(self.maximise(task), task.generator)

    def own_notes(self, task: RepairTask) -> Mapping[str, float]:
        return {"gamma": task.gamma(self.gamma), "prior": self.prior}
