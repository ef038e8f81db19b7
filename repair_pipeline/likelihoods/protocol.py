"""The catalogue entry of a likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from repair_pipeline.errors import InputError


@dataclass(frozen=True)
class Likelihood:
    """p(y|x,θ), defined by how a model's outputs are converted to logits (``docs/adr/0022``).

    The conversion is a forward hook. So training, Fisher, curvature, methods and verdicts, which all use logits, work
    with every likelihood.
    """

    logits: Callable[[Tensor], Float[Tensor, "n k"]] | None
    """Maps a batch of outputs to logits: log p(y|x,θ) of every class, up to a constant per row. Must be differentiable
    and treat each row separately. None: the outputs already are logits."""
    line: str
    """One-line description."""

    def on(self, model: nn.Module) -> nn.Module:
        """Add the conversion to the model, in place; returns the same model.

        Raises:
            InputError: it is a scripted module, whose outputs cannot be changed.
        """
        if self.logits is None:
            return model
        try:
            model.register_forward_hook(self._after)
        except RuntimeError as error:
            raise InputError(
                f"the model is a {type(model).__name__}, which supports only the softmax likelihood: "
                "give the module that it was scripted from"
            ) from error
        return model

    def _after(self, model: nn.Module, inputs: Any, outputs: Any) -> Any:
        # Outputs that are not a tensor are refused when the model is checked.
        return self.logits(outputs) if self.logits and isinstance(outputs, Tensor) else outputs


def log_p(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log p(y|x,θ) of the given labels, in nats, one value a row."""
    return -nn.functional.cross_entropy(logits, labels, reduction="none")
