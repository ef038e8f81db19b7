"""Several labels: a row's label is a set of classes, each of which has a sigmoid of its own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.likelihoods.protocol import Labels, Likelihood, Outputs, as_they_are
from repair_pipeline.types import LabelForm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class MultiLabel(Likelihood):
    """log p(y|x,θ) = Σ_j log σ(±f_j(x,θ)): each class is in the set, or not, independently of the others given x.

    A class is said to be in the set if its logit is above 0. A row is right if the whole set is.
    """

    form = LabelForm.SET
    measure = "f1"
    logits = staticmethod(as_they_are)
    line = "a set of classes, an output each, whose sigmoid is p(class in the set); right if all are"

    def log_p(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """Linear in the labels, so that ``expected`` may give ones that are no sets."""
        there, log_sigmoid = labels.to(outputs), nn.functional.logsigmoid
        return (there * log_sigmoid(outputs) + (1 - there) * log_sigmoid(-outputs)).sum(dim=1)

    def probability(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """The mean of the classes' p."""
        return torch.where(labels, outputs, -outputs).double().sigmoid().mean(dim=1)

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean of the classes' binary cross-entropies; smoothed labels lie nearer to a half."""
        targets = (1 - smoothing) * targets.to(outputs) + smoothing / 2
        return nn.functional.binary_cross_entropy_with_logits(outputs, targets)

    def said(self, outputs: Outputs, given: Labels | None) -> Labels:
        return outputs > 0

    def agree(self, said: Labels, labels: Labels) -> Bool[Tensor, " n"]:
        return (said == labels).all(dim=1)

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """By how much the worst of the classes is on the wrong side of 0."""
        return torch.where(labels, -outputs, outputs).amax(dim=1)

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """2 · true positives, and 2 · true positives + false positives + false negatives: micro F1."""
        said = self.said(outputs, labels)
        both = 2 * (said & labels).sum(dim=1)
        return torch.stack([both, both + (said ^ labels).sum(dim=1)], dim=1).double()

    def expected(self, outputs: Outputs, given: Labels) -> Iterator[tuple[Labels, Float[Tensor, " n"]]]:
        """For each class the label that is 1 above the expected one in it alone: ∇ log p is its ∇f."""
        shares = outputs.sigmoid()
        for at, share in enumerate(shares.unbind(dim=1)):
            labels = shares.clone()
            labels[:, at] += 1
            yield labels, share * (1 - share)

    def drawn(self, outputs: Outputs, given: Labels, generator: torch.Generator) -> Labels:
        return torch.bernoulli(outputs.sigmoid().cpu(), generator=generator).bool()

    def curved(self, outputs: Outputs, change: Outputs, given: Labels) -> Outputs:
        """π (1 − π) v, of each class by itself."""
        shares = outputs.sigmoid()
        return shares * (1 - shares) * change

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """The sum of the classes' divergences."""
        yes, no = (nn.functional.logsigmoid(sign * before) for sign in (1, -1))
        yes_after, no_after = (nn.functional.logsigmoid(sign * after) for sign in (1, -1))
        return (yes.exp() * (yes - yes_after) + no.exp() * (no - no_after)).sum(dim=1)
