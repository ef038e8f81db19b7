"""What a task is: p(y|x,θ) of a model's outputs, and what right, wrong and another label mean for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor, nn

from repair_pipeline.errors import InputError
from repair_pipeline.types import LabelForm

Outputs = Float[Tensor, "n *k"]
"""What a model returns for n rows, after the conversion: logits of k classes, a number, or logits at each place."""
Labels = Shaped[Tensor, "n *l"]
"""The labels of n rows: class numbers (n,), numbers (n,), sets of classes (n, k), or tokens or their classes (n, t)."""


def as_they_are(outputs: Tensor) -> Tensor:
    """The conversion of a likelihood that reads the model's outputs unchanged, but is no softmax."""
    return outputs


class Likelihood:
    """p(y|x,θ) of one task (``docs/adr/0022``). As it stands: one label among k classes, by a softmax over logits.

    Another task derives from it and says again what differs. Outputs may be converted before: the conversion is a
    forward hook. So training, Fisher, curvature, methods and verdicts, which all use logits, work with every one.

    Args:
        logits: maps a batch of outputs to logits: log p(y|x,θ) of every class, up to a constant per row. Must be
            differentiable and treat each row separately. None: the outputs already are logits.
        line: one-line description.
    """

    form: LabelForm = LabelForm.CLASS
    """What a label is."""
    measure: str | None = None
    """The task's own number beside the share of rows that are right; None: it has none."""

    def __init__(self, logits: Callable[[Tensor], Tensor] | None, line: str) -> None:
        self.logits, self.line = logits, line

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

    def expected_outputs(self, labels: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
        """The shapes that outputs of rows with these labels may have."""
        return ((len(labels), classes),)

    def fits(self, outputs: Tensor, labels: Labels, classes: int) -> bool:
        """Whether the outputs are of such a shape."""
        return outputs.shape in self.expected_outputs(labels, classes)

    def fitted(self, outputs: Outputs, labels: Labels) -> Likelihood:
        """The likelihood with what it learns from the base model's outputs on the validation rows: nothing."""
        return self

    # The probability of a label.

    def log_p(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """log p(y|x,θ) of the given labels, in nats, one value a row; at most 0 (a density is relative to its mode)."""
        return -nn.functional.cross_entropy(outputs, labels, reduction="none")

    def probability(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, " n"]:
        """From 0 to 1, how near each label the model is: p(y|x). Its mean stops trainings, as it bears wrong labels."""
        return self.log_p(outputs, labels).double().exp()

    def loss(self, outputs: Outputs, targets: Tensor, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """The mean loss of a batch in training: cross-entropy.

        Args:
            outputs: of the model.
            targets: labels, or soft labels: see ``soft``; of classes each may be multiplied by the weight of its row.
            smoothing: of the labels.
        """
        if smoothing and targets.is_floating_point():  # cross_entropy's own would lose the weight of each row
            targets = (1 - smoothing) * targets + smoothing * targets.mean(dim=1, keepdim=True)
            smoothing = 0.0
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=smoothing)

    # Right and wrong.

    def said(self, outputs: Outputs, given: Labels | None) -> Labels:
        """The label that the model predicts.

        Args:
            outputs: of the model.
            given: here and below labels of which only the padding is read: where they have no token; None: nowhere.
        """
        return outputs.argmax(dim=1)

    def agree(self, said: Labels, labels: Labels) -> Bool[Tensor, " n"]:
        """Whether each predicted label counts as the given one."""
        return said == labels

    def right(self, outputs: Outputs, labels: Labels) -> Bool[Tensor, " n"]:
        """Whether the model gets each row right: a failure is a row where it does not."""
        return self.agree(self.said(outputs, labels), labels)

    def lost_by(self, outputs: Outputs, labels: Labels) -> Float[Tensor, " n"]:
        """By how much each label loses, above 0 where the row is wrong: the best other logit minus the label's."""
        given = nn.functional.one_hot(labels, outputs.shape[1]).bool()
        return outputs.masked_fill(given, -torch.inf).amax(dim=1) - outputs[given]

    def amounts(self, outputs: Outputs, labels: Labels) -> Float64[Tensor, "n 2"]:
        """What each row adds to the numerator and to the denominator of ``measure``, if the task has one."""
        raise NotImplementedError

    def measured(self, ratio: float) -> float:
        """The task's own number, from the ratio of what all rows add."""
        return ratio

    # Its curvature.

    def expected(self, outputs: Outputs, given: Labels) -> Iterator[tuple[Labels, Float[Tensor, " n"]]]:
        """Labels with a weight a row, under which the squares of ∇ log p add up to the expected Fisher: all classes."""
        for label, weights in enumerate(outputs.softmax(dim=1).unbind(dim=1)):
            yield torch.full_like(weights, label, dtype=torch.int64), weights

    def drawn(self, outputs: Outputs, given: Labels, generator: torch.Generator) -> Labels:
        """A label of each row from p(y|x,θ), on the CPU."""
        return torch.multinomial(outputs.softmax(dim=1).cpu(), 1, generator=generator)[:, 0]

    def curved(self, outputs: Outputs, change: Outputs, given: Labels) -> Outputs:
        """The product of each row's expected −∂² log p by the outputs with ``change``: (diag π − ππᵀ) v."""
        shares = outputs.softmax(dim=1)
        return shares * (change - (shares * change).sum(dim=1, keepdim=True))

    def divergence(self, before: Outputs, after: Outputs, given: Labels) -> Float[Tensor, " n"]:
        """KL(p(·|x) before ‖ after) of each row, in nats."""
        log_before, log_after = before.log_softmax(dim=1), after.log_softmax(dim=1)
        return (log_before.exp() * (log_before - log_after)).sum(dim=1)

    # Another label, as models say that were not trained on the row; where ``form.corrects``.

    def predicted(self, outputs: Outputs, given: Labels) -> Float64[Tensor, "n *k"]:
        """What is kept of a prediction: p(y|x) of every class."""
        return outputs.double().softmax(dim=1)

    def unlikelihood(self, predicted: Float64[Tensor, "n *k"], labels: Labels) -> Float64[Tensor, " n"]:
        """−log p of the labels in nats, by what was kept of a prediction."""
        tiny = torch.finfo(torch.float64).tiny
        return -predicted.gather(1, labels[:, None]).flatten().clamp_min(tiny).log()

    def others(self, predicted: Float64[Tensor, "n *k"], given: Labels) -> Float64[Tensor, "n *k"]:
        """The soft label of each row if the given one is wrong: p(y | x, y ≠ given)."""
        others = predicted.clamp_min(torch.finfo(torch.float64).tiny).scatter(1, given[:, None], 0.0)
        return others / others.sum(dim=1, keepdim=True)

    def likeliest(self, soft: Float64[Tensor, "n *k"]) -> tuple[Float64[Tensor, " n"], Labels]:
        """The likeliest label under a soft one, and the confidence in it, by which P(it is right) is calibrated."""
        return soft.max(dim=1)

    def soft(self, labels: Labels, like: Float64[Tensor, "m *k"]) -> Float64[Tensor, "n *k"]:
        """Labels as soft ones, in the form of ``like``."""
        return nn.functional.one_hot(labels, like.shape[1]).to(like)
