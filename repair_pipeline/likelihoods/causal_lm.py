"""A causal language model: a row is a prompt with its completion, and log p is the sum over the completion's tokens."""

from __future__ import annotations

from math import exp, log
from typing import Annotated

import torch
from jaxtyping import Bool, Float, Float64
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from repair_pipeline.likelihoods.places import Places, places
from repair_pipeline.likelihoods.protocol import Labels, Outputs
from repair_pipeline.types import LabelForm


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CausalLM(Places):
    """log p(completion | prompt, θ) = Σ_t log p(token t | the tokens before it, θ), over the completion's tokens alone.

    The outputs at each place are the logits of the token that follows; a label has that token, or ``PADDING`` where it
    is not of the completion. A row is right if the likeliest token is the completion's at each of its places, which is
    if decoding greedily from the prompt gives the completion.
    """

    perplexity: Annotated[float, Field(gt=1, allow_inf_nan=False)] | None = None
    """Instead: a row is right if the completion's perplexity, exp of its mean −log p a token, is at most this."""

    form = LabelForm.COMPLETION
    measure = "perplexity"

    @property
    def line(self) -> str:  # type: ignore[override]
        if self.perplexity is None:
            return "a completion of a prompt, right if it is what the model says, token by token"
        return f"a completion of a prompt, right up to a perplexity of {self.perplexity:g}"

    def fits(self, outputs: Tensor, labels: Labels, classes: int) -> bool:
        """A model may have more outputs than its tokenizer has tokens, for speed."""
        return outputs.dim() == 3 and outputs.shape[:2] == labels.shape and outputs.shape[2] >= classes

    def right(self, outputs: Outputs, labels: Labels) -> Bool[Tensor, " n"]:
        if self.perplexity is None:
            return super().right(outputs, labels)
        return self._surprise(outputs, labels) <= log(self.perplexity)

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """By how much the worst of the tokens loses to another; or −log p a token above the limit."""
        if self.perplexity is None:
            return super().lost_by(outputs, labels)
        return self._surprise(outputs, labels) - log(self.perplexity)

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """−log p of the completion, and its tokens."""
        return torch.stack([-self.log_p(outputs.double(), labels), places(labels).double()], dim=1)

    def measured(self, ratio: float) -> float:
        return exp(min(ratio, _HOPELESS))

    def _surprise(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """−log p a token."""
        above, below = self.amounts(outputs, labels).unbind(dim=1)
        return above / below


_HOPELESS = 700.0
"""−log p a token from which on the perplexity is not a float any more."""
