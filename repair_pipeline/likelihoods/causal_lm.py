"""A causal language model: a row is a prompt with its completion, and log p is the sum over the completion's tokens."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Float64, Int64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.likelihoods.protocol import Labels, Likelihood, Outputs, as_they_are
from repair_pipeline.types import PADDING, LabelForm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CausalLM(Likelihood):
    """log p(completion | prompt, θ) = Σ_t log p(token t | the tokens before it, θ), over the completion's tokens alone.

    The outputs at each place are the logits of the token that follows; a label has that token, or ``PADDING`` where it
    is not of the completion. A row is right if the likeliest token is the completion's at each of its places, which is
    if decoding greedily from the prompt gives the completion.
    """

    perplexity: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    """Instead: a row is right if the completion's perplexity, exp of its mean −log p a token, is at most this."""

    form = LabelForm.COMPLETION
    corrects = False
    measure = "perplexity"
    logits = staticmethod(as_they_are)

    @property
    def line(self) -> str:  # type: ignore[override]
        if self.perplexity is None:
            return "a completion of a prompt, right if it is what the model says, token by token"
        return f"a completion of a prompt, right up to a perplexity of {self.perplexity:g}"

    def expected_outputs(self, labels: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
        return ((*labels.shape, classes),)

    def fits(self, outputs: Tensor, labels: Labels, classes: int) -> bool:
        """A model may have more outputs than its tokenizer has tokens, for speed."""
        return outputs.dim() == 3 and outputs.shape[:2] == labels.shape and outputs.shape[2] >= classes

    def log_p(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        log_p = outputs.log_softmax(dim=2).gather(2, labels.clamp_min(0)[..., None])[..., 0]
        return log_p.where(labels != PADDING, 0.0).sum(dim=1)

    def probability(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """The geometric mean of the tokens' probabilities."""
        return (-self._surprise(outputs, labels)).exp()

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean cross-entropy of the batch's tokens."""
        return nn.functional.cross_entropy(
            outputs.flatten(0, 1), targets.flatten(), ignore_index=PADDING, label_smoothing=smoothing
        )

    def said(self, outputs: Outputs, given: Labels | None) -> Labels:
        said = outputs.argmax(dim=2)
        return said if given is None else said.where(given != PADDING, PADDING)

    def agree(self, said: Labels, labels: Labels) -> Bool[Tensor, " n"]:
        return (said == labels).all(dim=1)

    def right(self, outputs: Outputs, labels: Labels) -> Bool[Tensor, " n"]:
        if self.perplexity is None:
            return super().right(outputs, labels)
        return self._surprise(outputs, labels) <= log(self.perplexity)

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """By how much the worst of the tokens loses to another; or −log p a token above the limit."""
        if self.perplexity is not None:
            return self._surprise(outputs, labels) - log(self.perplexity)
        given, at = labels.clamp_min(0)[..., None], labels != PADDING
        others = outputs.scatter(2, given, -torch.inf).amax(dim=2) - outputs.gather(2, given)[..., 0]
        return others.where(at, -torch.inf).amax(dim=1)

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """−log p of the completion, and its tokens."""
        return torch.stack([-self.log_p(outputs.double(), labels), _tokens(labels).double()], dim=1)

    def measured(self, ratio: float) -> float:
        return exp(min(ratio, _HOPELESS))

    def _surprise(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """−log p a token."""
        above, below = self.amounts(outputs, labels).unbind(dim=1)
        return above / below

    def expected(self, outputs: Outputs, given: Labels) -> Iterator[tuple[Labels, Float[Tensor, " n"]]]:
        """Each token at each place by itself: given the tokens before them, places do not depend on each other."""
        shares, at = outputs.softmax(dim=2), given != PADDING
        for place in torch.nonzero(at.any(dim=0)).flatten().tolist():
            for token in range(outputs.shape[2]):
                labels = torch.full_like(given, PADDING)
                labels[:, place] = token
                yield labels, shares[:, place, token] * at[:, place]

    def drawn(self, outputs: Outputs, given: Labels, generator: torch.Generator) -> Labels:
        shares = outputs.softmax(dim=2).flatten(0, 1).cpu()
        tokens = torch.multinomial(shares, 1, generator=generator).view(given.shape)
        return tokens.where(given.cpu() != PADDING, PADDING)

    def curved(self, outputs: Outputs, change: Outputs, given: Labels) -> Outputs:
        """(diag π − ππᵀ) v at each place of the completion."""
        shares = outputs.softmax(dim=2)
        curved = shares * (change - (shares * change).sum(dim=2, keepdim=True))
        return curved * (given != PADDING)[..., None]

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """The sum over the completion's places of KL(p before ‖ p after), each after the given tokens."""
        log_before, log_after = before.log_softmax(dim=2), after.log_softmax(dim=2)
        return ((log_before.exp() * (log_before - log_after)).sum(dim=2) * (given != PADDING)).sum(dim=1)


_HOPELESS = 700.0
"""−log p a token from which on the perplexity is not a float any more."""


def _tokens(labels: Labels) -> Int64[Tensor, " n"]:
    return (labels != PADDING).sum(dim=1)
