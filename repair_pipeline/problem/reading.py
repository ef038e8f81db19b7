"""Readings: influence from a pair of posteriors, in nats. Positive is harmful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import log

import torch
from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.compute.engines import shards, spread
from repair_pipeline.continual.directional import of_log_p
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.posterior import Posterior
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, Progress, Theta

UNLIKELY = log(2)
"""The threshold of −log p, in nats, above which a label is less likely than not."""

Reading = Callable[[RepairTask, Posterior, Posterior], Float64[Tensor, " n"]]
"""(task, q, q*) → a value for every z of D; q is the posterior before learning the failures, q* after."""


def difference(task: RepairTask, q: Posterior, updated: Posterior) -> Float64[Tensor, " n"]:
    """r̃(z) = E_q[log p(z|θ)] − E_q*[log p(z|θ)] (Eq. 7; with point estimates Eq. 11).

    Positive if learning the failures makes z less likely: z opposes them. Costs two forward passes over D.
    """
    before, after = (posterior.expected_log_lik(task.classifier, task.fit) for posterior in (q, updated))
    return before - after


def linear(task: RepairTask, q: Posterior, updated: Posterior) -> Float64[Tensor, " n"]:
    """r̃(z) = −(θ* − θ)ᵀ ∇log p(z|θ) at q's mean θ: the difference to first order (Eq. 9).

    Costs about two forward passes over D.
    """
    return -torch.cat(list(spread(partial(_change, task.classifier, q.mean, updated.mean), shards(task.fit))))


def _change(
    classifier: Classifier, theta: Theta, updated: Theta, rows: Examples, progress: Progress
) -> Float64[Tensor, " n"]:
    """(θ* − θ)ᵀ ∇log p(z|θ) of every row, on the CPU."""
    log_p, step = of_log_p(classifier), updated - theta
    return torch.cat([log_p.change(theta, batch.to(step.device), step).double().cpu() for batch in rows.batches(500)])


def posterior_loss(task: RepairTask, q: Posterior, updated: Posterior) -> Float64[Tensor, " n"]:
    """−E_q*[log p(z|θ)]: how unlikely z is after learning the failures, regardless of q.

    Not a difference, so zero is not neutral: a row counts as harmful above log 2.
    """
    return -updated.expected_log_lik(task.classifier, task.fit)


READINGS: Mapping[str, Reading] = {"difference": difference, "linear": linear, "posterior_loss": posterior_loss}
