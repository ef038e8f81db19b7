"""Regression with Gaussian errors: training minimises the mean squared error."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from repair_pipeline.likelihoods.number import Number
from repair_pipeline.likelihoods.protocol import Labels, Outputs


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Gaussian(Number):
    """N(y; f(x,θ), σ²): log p = −½ ((y − f) / σ)². The Fisher is JᵀJ / σ²."""

    kind = "Gaussian, and training minimises their mean square"
    information = 1.0

    @property
    def _unit_error(self) -> float:
        return float(torch.special.ndtri(torch.tensor(0.75, dtype=torch.float64)))

    def log_density(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return -0.5 * z.square()

    def standard(self, uniform: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        return torch.special.ndtri(uniform)

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """½ ((f − f') / σ)²."""
        return 0.5 * ((before - after).reshape(-1) / self.scale).square()
