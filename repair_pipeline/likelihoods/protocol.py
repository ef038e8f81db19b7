"""What a likelihood is, and its entry in the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int64
from torch import Tensor, nn

from repair_pipeline.errors import InputError


@dataclass(frozen=True)
class Likelihood:
    """An entry of the catalogue: p(y|x,θ), as the logits that a model's outputs stand for (``docs/adr/0022``).

    Outputs become logits as they leave the model. So training, Fisher, curvature, methods and verdicts, which all read
    a model's logits, are right under every likelihood.
    """

    logits: Callable[[Tensor], Float[Tensor, "n k"]] | None
    """From a batch's outputs to a number for every class: log p(y|x,θ), up to one constant a row. Made of operations
    that torch differentiates, each row by itself. None: the outputs are logits as they are."""
    line: str
    """What it is, in one line."""

    def on(self, model: nn.Module) -> nn.Module:
        """The same model, which returns logits from now on.

        Raises:
            InputError: it is a scripted module, whose outputs torch lets nobody change.
        """
        if self.logits is None:
            return model
        try:
            model.register_forward_hook(self._after)
        except RuntimeError as error:
            raise InputError(
                f"the model is a {type(model).__name__}, whose outputs cannot be read by another likelihood than "
                "softmax: give the module that it was made from"
            ) from error
        return model

    def _after(self, model: nn.Module, inputs: Any, outputs: Any) -> Any:
        # What is no tensor is refused where the model is looked at.
        return self.logits(outputs) if self.logits and isinstance(outputs, Tensor) else outputs


def off(model: nn.Module) -> nn.Module:
    """The same model, which returns its own outputs again."""
    hooks = model._forward_hooks  # torch forgets a hook by the handle alone, which a copy of the model has not
    for key in [key for key, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Likelihood)]:
        del hooks[key]
    return model


def log_p(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log p(y|x,θ) of the given labels, in nats, one value a row."""
    return -nn.functional.cross_entropy(logits, labels, reduction="none")
