"""A class for each token, such as the kind of a name; and how a row's classes are corrected."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float, Float64, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.likelihoods.places import Places, places
from repair_pipeline.likelihoods.protocol import Labels, Outputs
from repair_pipeline.types import PADDING, LabelForm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TokenClassification(Places):
    """log p(y|x,θ) = Σ_t log p(class of token t | x,θ), over the tokens that have a class.

    A row is right if the likeliest class of each of these tokens is the given one.
    """

    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Up to this share of a row's tokens may be wrong in a row that is right."""

    form = LabelForm.TAGS
    measure = "token_accuracy"

    @property
    def line(self) -> str:  # type: ignore[override]
        if not self.tolerance:
            return "a class for each token, right if all are"
        return f"a class for each token, right if at most {self.tolerance:.3g} of a row's are wrong"

    def bearable(self, labels: Labels) -> Int64[Tensor, " n"]:
        """A tolerance of 0.29 bears 29 of 100, though their product is a little below."""
        return (places(labels) * self.tolerance + 1e-9).floor().long()

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean cross-entropy of the batch's tokens; soft labels (n, t, k) are 0 where there is none."""
        if not targets.is_floating_point():
            return super().loss(outputs, targets, smoothing)
        targets = (1 - smoothing) * targets + smoothing * targets.mean(dim=2, keepdim=True)
        return -(targets * outputs.log_softmax(dim=2)).sum() / (targets.sum(dim=2) > 0).sum()

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """The tokens whose class is right, and all that have one."""
        right = (self.said(outputs, None) == labels).sum(dim=1)
        return torch.stack([right, places(labels)], dim=1).double()

    def predicted(self, outputs: Outputs, given: Labels) -> Float64[Tensor, "n t k"]:
        """p(y_t|x) of every class, and 0 where a token has none."""
        return outputs.double().softmax(dim=2) * (given != PADDING)[..., None]

    def unlikelihood(self, predicted: Float64[Tensor, "n t k"], labels: Labels) -> Float64[Tensor, " n"]:
        return -_log_p_of(predicted, labels).sum(dim=1)

    def others(self, predicted: Float64[Tensor, "n t k"], given: Labels) -> Float64[Tensor, "n t k"]:
        """p(y_t | x, y ≠ given) at each place: at least one of a row's classes is wrong, but nobody says which.

        With P = Π_s p(given_s), it is p(y_t) / (1 − P) of another class, and (p(given_t) − P) / (1 − P) of the given.
        """
        log_p = _log_p_of(predicted, given)
        beside = (log_p.sum(dim=1, keepdim=True) - log_p).clamp_max(0)  # log p of the given classes at all other places
        at = given.long().clamp_min(0)[..., None]
        others = predicted.clamp_min(_TINY).scatter(2, at, (log_p.exp() * -torch.expm1(beside))[..., None])
        return others / others.sum(dim=2, keepdim=True) * (given != PADDING)[..., None]

    def likeliest(self, soft: Float64[Tensor, "n t k"]) -> tuple[Float64[Tensor, " n"], Labels]:
        """The likeliest class at each place; the confidence is the product of theirs."""
        share, label = soft.max(dim=2)
        there = share > 0
        return share.where(there, 1.0).log().sum(dim=1).exp(), label.where(there, PADDING).int()

    def soft(self, labels: Labels, like: Float64[Tensor, "m t k"]) -> Float64[Tensor, "n t k"]:
        one_hot = nn.functional.one_hot(labels.long().clamp_min(0), like.shape[2]).to(like)
        return one_hot * (labels != PADDING)[..., None]


_TINY = torch.finfo(torch.float64).tiny


def _log_p_of(predicted: Float64[Tensor, "n t k"], labels: Labels) -> Float64[Tensor, "n t"]:
    """log p of the label at each place, and 0 where there is none."""
    at = labels.long().clamp_min(0)[..., None]
    return predicted.gather(2, at)[..., 0].clamp_min(_TINY).log().where(labels != PADDING, 0.0)
