"""What the likelihoods of one label at each place of a row have in common."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn

from repair_pipeline.likelihoods.protocol import Labels, Likelihood, Outputs, as_they_are
from repair_pipeline.types import PADDING


class Places(Likelihood):
    """log p of a row is the sum of log p(label at t | x,θ) over its places t with a label; elsewhere is ``PADDING``.

    The outputs (n, t, k) are logits at each place. Given x, places do not depend on each other.
    """

    logits = staticmethod(as_they_are)

    def expected_outputs(self, labels: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
        return ((*labels.shape, classes),)

    def log_p(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        log_p = outputs.log_softmax(dim=2).gather(2, labels.long().clamp_min(0)[..., None])[..., 0]
        return log_p.where(labels != PADDING, 0.0).sum(dim=1)

    def probability(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """The geometric mean of the labels' probabilities."""
        return (self.log_p(outputs.double(), labels) / places(labels)).exp()

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean cross-entropy of the batch's places."""
        return nn.functional.cross_entropy(
            outputs.flatten(0, 1), targets.long().flatten(), ignore_index=PADDING, label_smoothing=smoothing
        )

    def said(self, outputs: Outputs, given: Labels | None) -> Labels:
        said = outputs.argmax(dim=2)
        return said if given is None else said.where(given != PADDING, PADDING)

    def bearable(self, labels: Labels) -> Int64[Tensor, " n"]:
        """How many labels of each row may be wrong if it is to be right: none."""
        return torch.zeros_like(places(labels))

    def agree(self, said: Labels, labels: Labels) -> Bool[Tensor, " n"]:
        return (said != labels).sum(dim=1) <= self.bearable(labels)

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """By how much the worst place loses to another label, but for those that may be wrong."""
        given = labels.long().clamp_min(0)[..., None]
        lost = outputs.scatter(2, given, -torch.inf).amax(dim=2) - outputs.gather(2, given)[..., 0]
        worst_first = lost.where(labels != PADDING, -torch.inf).sort(dim=1, descending=True).values
        return worst_first.gather(1, self.bearable(labels)[:, None])[:, 0]

    def expected(self, outputs: Outputs, given: Labels) -> Iterator[tuple[Labels, Float[Tensor, " n"]]]:
        """Each label at each place by itself."""
        shares, at = outputs.softmax(dim=2), given != PADDING
        for place in torch.nonzero(at.any(dim=0)).flatten().tolist():
            for label in range(outputs.shape[2]):
                labels = torch.full_like(given, PADDING)
                labels[:, place] = label
                yield labels, shares[:, place, label] * at[:, place]

    def drawn(self, outputs: Outputs, given: Labels, generator: torch.Generator) -> Labels:
        shares = outputs.softmax(dim=2).flatten(0, 1).cpu()
        labels = torch.multinomial(shares, 1, generator=generator).view(given.shape)
        return labels.where(given.cpu() != PADDING, PADDING)

    def curved(self, outputs: Outputs, change: Outputs, given: Labels) -> Outputs:
        """(diag π − ππᵀ) v at each place with a label."""
        shares = outputs.softmax(dim=2)
        curved = shares * (change - (shares * change).sum(dim=2, keepdim=True))
        return curved * (given != PADDING)[..., None]

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """The sum over the places with a label of KL(p before ‖ p after)."""
        log_before, log_after = before.log_softmax(dim=2), after.log_softmax(dim=2)
        return ((log_before.exp() * (log_before - log_after)).sum(dim=2) * (given != PADDING)).sum(dim=1)


def places(labels: Labels) -> Int64[Tensor, " n"]:
    """How many places of each row have a label."""
    return (labels != PADDING).sum(dim=1)
