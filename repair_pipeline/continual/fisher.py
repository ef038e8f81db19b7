"""The diagonal of the Fisher information."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from repair_pipeline.compute.engines import shards, spread
from repair_pipeline.continual.likelihood import Classifier, LogLikelihood
from repair_pipeline.types import Examples, Progress, Theta, silent

FisherKind = Literal["empirical", "expected", "monte_carlo"]
"""Labels used for the Fisher: the given ones; those whose weighted squares are the expectation over p(y|x,θ) (all, if
they are classes); or one per row drawn from p(y|x,θ)."""

Labels = Callable[[Theta, Examples], Iterator[tuple[Examples, Float[Tensor, " n"]]]]
"""(θ, rows) → copies of the rows with the labels to use, each with a weight per row."""


def given_labels(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
    """The rows with their given labels: the empirical Fisher."""
    yield examples, theta.new_ones(len(examples))


def labels_of(kind: FisherKind, classifier: Classifier, generator: torch.Generator) -> Labels:
    """The labels for this kind of Fisher; ``generator`` draws those of ``monte_carlo``."""

    @torch.no_grad()
    def outputs(theta: Theta, examples: Examples) -> Float[Tensor, "n *k"]:
        return classifier.logits(theta, examples.inputs)

    def every(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
        for labels, weights in classifier.likelihood.expected(outputs(theta, examples), examples.labels):
            yield replace(examples, labels=labels), weights

    def drawn(theta: Theta, examples: Examples) -> Iterator[tuple[Examples, Float[Tensor, " n"]]]:
        labels = classifier.likelihood.drawn(outputs(theta, examples), examples.labels, generator)
        yield from given_labels(theta, replace(examples, labels=labels.to(theta.device)))

    return {"empirical": given_labels, "expected": every, "monte_carlo": drawn}[kind]


def gradients_at_once(theta: Theta) -> int:
    """The number of per-sample gradients to hold in memory: 100, or as many as fit into 1 GiB."""
    return max(1, min(100, 2**30 // (theta.element_size() * theta.numel())))


def squared_gradients(
    log_lik: LogLikelihood,
    theta: Theta,
    examples: Examples,
    batch_size: int | None = None,
    progress: Progress = silent,
    labels: Labels = given_labels,
) -> Float[Tensor, " p"]:
    """Σ_z (∇ log p(z|θ))², elementwise: squares of per-sample gradients, not of a batch gradient.

    Squared and summed over a batch in the gradients' precision, and over batches in float64. Memory is batch_size × p.
    Costs about one training epoch, times the number of classes for ``expected`` labels.

    Args:
        log_lik: log p(z|θ).
        theta: where the gradients are taken.
        examples: Z.
        batch_size: None means ``gradients_at_once``.
        progress: called after each batch.
        labels: the labels to use; see ``labels_of``.
    """
    # Labels that are drawn come from one random stream, row after row, so they are not drawn at several places.
    parts = shards(examples) if labels is given_labels else [examples]
    size = batch_size or gradients_at_once(theta)
    work = partial(_squares_of_shard, log_lik, theta, size, labels, len(examples))
    pieces = list(zip(accumulate(map(len, parts), initial=0), parts, strict=False))
    total = torch.zeros_like(theta, dtype=torch.float64)
    for squares in spread(work, pieces, progress):
        total += squares.to(theta.device)
    return total.to(theta.dtype)


def _squares_of_shard(
    log_lik: LogLikelihood,
    theta: Theta,
    batch_size: int,
    labels: Labels,
    count: int,
    shard: tuple[int, Examples],
    progress: Progress,
) -> Float64[Tensor, " p"]:
    """Its share of ``squared_gradients``; the shard is that from row ``shard[0]`` of ``count``."""
    done, rows = shard
    total = torch.zeros_like(theta, dtype=torch.float64)
    for batch in rows.batches(batch_size):
        for labelled, weights in labels(theta, batch.to(theta.device)):
            squares = log_lik.gradients(theta, labelled).square()
            total += weights.to(squares.dtype) @ squares
        done += len(batch)
        progress(done, count)
    return total


def fisher_diagonal(
    log_lik: LogLikelihood,
    theta: Theta,
    examples: Examples,
    batch_size: int | None = None,
    progress: Progress = silent,
    labels: Labels = given_labels,
) -> Float[Tensor, " p"]:
    """diag F̂: the mean over D of the squared per-sample gradients, by default at the given labels (Eq. 8).

    Args: as ``squared_gradients``.

    Raises:
        FloatingPointError: it is not finite, or zero everywhere, so that a penalty would have no effect.
    """
    fisher = squared_gradients(log_lik, theta, examples, batch_size, progress, labels) / len(examples)
    if not bool(torch.isfinite(fisher).all()) or not bool(fisher.any()):
        raise FloatingPointError(
            f"the Fisher diagonal over {len(examples)} rows is zero or not finite: "
            "the base model's outputs are saturated or have diverged; train it with a smaller learning rate"
        )
    return fisher
