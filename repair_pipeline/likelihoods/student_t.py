"""Regression with errors of Student's t: single rows that are far off pull at the model only a little."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from scipy.stats import t
from torch import Tensor

from repair_pipeline.likelihoods.number import Number, Positive


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StudentT(Number):
    """log p = −½ (ν + 1) log(1 + ((y − f) / σ)² / ν). The Fisher is JᵀJ (ν + 1) / (ν + 3) / σ²."""

    degrees: Positive = 4.0
    """ν, the degrees of freedom: the fewer, the less rows that are far off count."""

    kind = "Student's t, so that rows that are far off pull little"

    @property
    def information(self) -> float:
        return (self.degrees + 1) / (self.degrees + 3)

    @property
    def _unit_error(self) -> float:
        return float(t.ppf(0.75, self.degrees))

    def log_density(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        return -0.5 * (self.degrees + 1) * torch.log1p(z.square() / self.degrees)

    def standard(self, uniform: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        return torch.from_numpy(t.ppf(uniform.numpy(), self.degrees))
