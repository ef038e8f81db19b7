"""The Fisher information's diagonal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.types import Examples, Progress, Theta, silent

FisherKind = Literal["empirical", "expected", "monte_carlo"]
"""The labels a Fisher is taken at: the given ones, all of them by p(y|x,θ), or one a row drawn from p(y|x,θ)."""

Labels = Callable[[Theta, Examples], Iterator[tuple[Examples, Float[Tensor, " n"]]]]
"""(θ, rows) → the same rows under other labels, with a weight for each row. A row's weights add up to 1."""


def given_labels(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
    """The rows as they are: what the empirical Fisher is taken at."""
    yield examples, theta.new_ones(len(examples))


def labels_of(kind: FisherKind, classifier: Classifier, generator: torch.Generator) -> Labels:
    """The labels that the Fisher of this kind is taken at; ``generator`` draws those of ``monte_carlo``."""

    @torch.no_grad()
    def probabilities(theta: Theta, examples: Examples) -> Float[Tensor, "n k"]:
        return classifier.logits(theta, examples.inputs).softmax(dim=1)

    def every(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
        for label, weights in enumerate(probabilities(theta, examples).unbind(dim=1)):
            yield replace(examples, labels=torch.full_like(examples.labels, label)), weights

    def drawn(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
        labels = torch.multinomial(probabilities(theta, examples).cpu(), 1, generator=generator)[:, 0]
        yield from given_labels(theta, replace(examples, labels=labels.to(theta.device)))

    return {"empirical": given_labels, "expected": every, "monte_carlo": drawn}[kind]


def gradients_at_once(theta: Theta) -> int:
    """How many examples' gradients to hold: 100, or as many as take 1 GiB."""
    return max(1, min(100, 2**30 // (theta.element_size() * theta.numel())))


def squared_gradients(
    log_lik: LogLikelihood,
    theta: Theta,
    examples: Examples,
    batch_size: int | None = None,
    progress: Progress = silent,
    labels: Labels = given_labels,
) -> Float[Tensor, " p"]:
    """Σ_z (∇ log p(z|θ))², element by element: squares of per-sample gradients, not of a batch's gradient.

    Streamed in the gradients' precision and summed in float64; memory is batch_size × p, of which None takes
    ``gradients_at_once``. Costs about a training epoch, times the number of classes where ``labels`` are all of them.
    """
    total = torch.zeros_like(theta, dtype=torch.float64)
    done = 0
    for batch in examples.batches(batch_size or gradients_at_once(theta)):
        for labelled, weights in labels(theta, batch.to(theta.device)):
            squares = log_lik.gradients(theta, labelled).square()
            total += (weights[:, None] * squares).sum(dim=0, dtype=torch.float64)
        done += len(batch)
        progress(done, len(examples))
    return total.to(theta.dtype)


def fisher_diagonal(
    log_lik: LogLikelihood,
    theta: Theta,
    examples: Examples,
    batch_size: int | None = None,
    progress: Progress = silent,
    labels: Labels = given_labels,
) -> Float[Tensor, " p"]:
    """diag F̂: the mean over D of the squared per-sample gradients, by default at the given labels (Eq. 8).

    Raises:
        FloatingPointError: it is not finite, or zero throughout, so that a penalty would weigh nothing.
    """
    fisher = squared_gradients(log_lik, theta, examples, batch_size, progress, labels) / len(examples)
    if not bool(torch.isfinite(fisher).all()) or not bool(fisher.any()):
        raise FloatingPointError(
            f"the Fisher diagonal over {len(examples)} rows is zero or not finite: "
            "the base model's outputs are saturated or have diverged; train it with a smaller learning rate"
        )
    return fisher
