"""Regression: what the likelihoods of one number a row have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import floor, inf, log10
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Labels, Likelihood, Outputs, as_they_are
from repair_pipeline.types import LabelForm

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Number(Likelihood):
    """The output is the centre f(x,θ) of a density of the label, of a scale σ that is the same for all rows.

    A row is right if its error, the distance of label and output, is at most the tolerance. log p is relative to the
    density's mode, where it is 0: so it needs no unit, and −log p above log 2 is below half the mode's density.
    """

    tolerance: Positive
    """The largest error of a row that is right, in the label's unit."""
    sigma: Positive | None = None
    """σ in the label's unit. None: estimated once, from the base model's errors on the validation rows; the tolerance
    stands in for it until then."""

    form = LabelForm.NUMBER
    measure = "error"
    logits = staticmethod(as_they_are)
    kind = ""
    """What the errors are."""

    @property
    def line(self) -> str:  # type: ignore[override]
        return f"a number, right up to an error of {self.tolerance:g}; the errors are {self.kind}"

    @property
    def scale(self) -> float:
        """σ, or what stands in for it."""
        return self.tolerance if self.sigma is None else self.sigma

    def at(self, sigma: float) -> Number:
        """The likelihood at this σ."""
        return replace(self, sigma=sigma)

    def expected_outputs(self, labels: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
        return (len(labels), 1), (len(labels),)

    def fitted(self, outputs: Outputs, labels: Labels) -> Number:
        """The likelihood with σ estimated: the median error over its value at σ = 1, which few wrong rows move little.

        Args:
            outputs: the base model's, of the validation rows.
            labels: of these rows.

        Raises:
            InputError: half of the errors are 0, or not finite.
        """
        if self.sigma is not None:
            return self
        sigma = self.errors(outputs, labels).median().item() / self._unit_error
        if not sigma < inf:
            raise InputError("the model's outputs on the validation rows are not finite: give weights that work")
        if sigma == 0:
            raise InputError(
                "the model is exact on half of the validation rows, so that sigma cannot be estimated from its errors: "
                "give sigma beside the tolerance"
            )
        return self.at(sigma)

    # Each density's own.

    @property
    def _unit_error(self) -> float:
        """The median error at σ = 1."""
        raise NotImplementedError

    def log_density(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """log p of errors in units of σ, relative to the mode."""
        raise NotImplementedError

    @property
    def information(self) -> float:
        """The expected −∂² log p by the output, at σ = 1."""
        raise NotImplementedError

    def standard(self, uniform: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """The quantiles of the density at σ = 1."""
        raise NotImplementedError

    # In common.

    def log_p(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        centre = outputs.reshape(-1)
        return self.log_density((labels.to(centre) - centre) / self.scale)

    def probability(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """exp(−½ (error / tolerance)²): how nearly a row is right, whatever σ."""
        return (-0.5 * (self.errors(outputs, labels) / self.tolerance).square()).exp()

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean of −2σ² log p over the information at σ = 1: of small errors the mean square.

        Raises:
            InputError: there are no labels of classes to smooth.
        """
        if smoothing:
            raise InputError("training.label_smoothing is set, but a number cannot be smoothed: leave it out")
        return -2 * self.scale**2 / self.information * self.log_p(outputs, targets).mean()

    def said(self, outputs: Outputs, given: Labels | None) -> Labels:
        return outputs.reshape(-1)

    def agree(self, said: Labels, labels: Labels) -> Bool[Tensor, " n"]:
        return self.errors(said, labels) <= self.tolerance

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """The error less the tolerance."""
        return self.errors(outputs, labels) - self.tolerance

    def errors(self, said: Shaped[Tensor, "n *k"], labels: Labels) -> Float64[Tensor, " n"]:
        """The distance of each prediction from the label, in the label's unit."""
        return (said.reshape(-1).double() - labels.to(said.device).double()).abs()

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """The errors, whose mean is the measure."""
        errors = self.errors(outputs, labels)
        return torch.stack([errors, torch.ones_like(errors)], dim=1)

    def expected(self, outputs: Outputs, given: Labels) -> Iterator[tuple[Labels, Float[Tensor, " n"]]]:
        """The label at an error of σ, weighted so that its squared slope is the information."""
        centre = outputs.reshape(-1)
        at = centre.new_ones(1, requires_grad=True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.log_density(at).sum(), at)
        yield centre + self.scale, torch.full_like(centre, self.information) / slope.square()

    def drawn(self, outputs: Outputs, given: Labels, generator: torch.Generator) -> Labels:
        centre = outputs.reshape(-1).double().cpu()
        uniform = torch.rand(len(centre), generator=generator, dtype=torch.float64)
        return centre + self.scale * self.standard(uniform)

    def curved(self, outputs: Outputs, change: Outputs, given: Labels) -> Outputs:
        """v · information / σ²."""
        return change * (self.information / self.scale**2)

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """KL to an accuracy of a thousandth: the mean of log p before less after, over evenly spaced quantiles."""
        moved = (after - before).reshape(-1) / self.scale
        z = self.standard((torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES).to(moved)
        return (self.log_density(z) - self.log_density(z - moved[:, None])).mean(dim=1)

    def predicted(self, outputs: Outputs, given: Labels) -> Float64[Tensor, " n"]:
        return outputs.reshape(-1).double()

    def unlikelihood(self, predicted: Float64[Tensor, " n"], labels: Labels) -> Float64[Tensor, " n"]:
        return -self.log_p(predicted, labels)

    def others(self, predicted: Float64[Tensor, " n"], given: Labels) -> Float64[Tensor, " n"]:
        """What the models say, whole if all given labels are."""
        return predicted.round() if bool((given == given.round()).all()) else predicted

    def likeliest(self, soft: Float64[Tensor, " n"]) -> tuple[Float64[Tensor, " n"], Labels]:
        """The numbers, rounded to at most a twentieth of the tolerance; each with the same confidence."""
        return torch.ones_like(soft), soft.round(decimals=1 - floor(log10(self.tolerance)))

    def soft(self, labels: Labels, like: Float64[Tensor, " m"]) -> Float64[Tensor, " n"]:
        return labels.to(like)


_QUANTILES = 400
