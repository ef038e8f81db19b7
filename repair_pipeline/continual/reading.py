"""How two posteriors are read as influence."""

from jaxtyping import Float64
from torch import Tensor

from repair_pipeline.continual.likelihood import log_likelihoods
from repair_pipeline.continual.posterior import Laplace
from repair_pipeline.continual.task import RepairTask


def difference(task: RepairTask, updated: Laplace) -> Float64[Tensor, " n"]:
    """r̃(z) = log p(z|θ̂) − log p(z|θ*) for every z of D, in nats (Eq. 7 with point estimates: Eq. 11).

    Positive where learning the failures makes z less likely: z opposes them. Costs one forward pass over D.
    """
    return task.log_lik_hat - log_likelihoods(task.classifier, updated.mean, task.fit)
