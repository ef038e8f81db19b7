"""The Fisher information's diagonal."""

import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.continual.likelihood import LogLikelihood
from repair_pipeline.types import Examples, Progress, Theta, silent


def squared_gradients(
    log_lik: LogLikelihood, theta: Theta, examples: Examples, batch_size: int = 100, progress: Progress = silent
) -> Float[Tensor, " p"]:
    """Σ_z (∇ log p(z|θ))², element by element: squares of per-sample gradients, not of a batch's gradient.

    Streamed in the gradients' precision and summed in float64; memory is batch_size × p. Costs about a training epoch.
    """
    total = torch.zeros_like(theta, dtype=torch.float64)
    done = 0
    for batch in examples.batches(batch_size):
        total += log_lik.gradients(theta, batch.to(theta.device)).square().sum(dim=0, dtype=torch.float64)
        done += len(batch)
        progress(done, len(examples))
    return total.to(theta.dtype)


def fisher_diagonal(
    log_lik: LogLikelihood, theta: Theta, examples: Examples, batch_size: int = 100, progress: Progress = silent
) -> Float[Tensor, " p"]:
    """diag F̂: the mean over D of the squared per-sample gradients at the given labels (the empirical Fisher, Eq. 8).

    Raises:
        FloatingPointError: it is not finite, or zero throughout, so that a penalty would weigh nothing.
    """
    fisher = squared_gradients(log_lik, theta, examples, batch_size, progress) / len(examples)
    if not bool(torch.isfinite(fisher).all()) or not bool(fisher.any()):
        raise FloatingPointError(
            f"the Fisher diagonal over {len(examples)} rows is zero or not finite: "
            "the base model's outputs are saturated or have diverged; train it with a smaller learning rate"
        )
    return fisher
