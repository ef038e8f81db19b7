"""SCRUB, a method from the unlearning literature."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.continual.backward import gradient
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.stopping import Patience
from repair_pipeline.treatment.guarded import Tolerance, repair_within_guard
from repair_pipeline.types import Causes, Examples, Theta


def _shuffled(rows: Examples, generator: torch.Generator, device: torch.device) -> Iterator[Examples]:
    for batch in torch.randperm(len(rows), generator=generator).split(64):
        yield rows[batch].to(device)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Scrub:
    """Move away from the teacher θ̂ on C and stay close to it on D∖C (Kurmanji et al., NeurIPS 2023: SCRUB).

    Each epoch ascends KL(p(y|x,θ̂) ‖ p(y|x,θ)) over C, then descends α KL − log p(z|θ) over D∖C.
    Deviation: the divergence has temperature 1, and the optimiser is Adam. Instead of rewinding, the best model after
    any epoch (θ̂ included) is selected by ``repair_within_guard``.
    """

    alpha: NonNegativeFloat = 0.001
    """α, the teacher's weight on D∖C, where the labels' weight is 1; as published."""
    ascents: NonNegativeInt = 2
    """Number of epochs, from the second on, that begin with ascent over C; as published."""
    epochs: PositiveInt = 10
    learning_rate: PositiveFloat = 5e-4
    """Adam's; as published."""
    tolerance: Tolerance = 0.02

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        device = task.theta_hat.device
        removed = task.fit.having(causes.as_set)
        forgotten, kept = task.fit[removed], task.fit[~removed]

        def divergence(theta: Theta, rows: Examples) -> Float[Tensor, ""]:
            teacher = task.classifier.logits(task.theta_hat, rows.inputs).log_softmax(dim=1)
            student = task.classifier.logits(theta, rows.inputs).log_softmax(dim=1)
            return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)

        theta = task.theta_hat.clone().requires_grad_(True)
        optimiser = torch.optim.Adam([theta], lr=self.learning_rate)

        def descend(loss: Float[Tensor, ""]) -> None:
            theta.grad = gradient(loss, theta)
            optimiser.step()

        score, patience, best = repair_within_guard(task, self.tolerance), Patience(self.epochs), task.theta_hat
        patience.improves(score(best))
        for epoch in range(self.epochs):
            # Not in the first epoch: the divergence has zero gradient at θ̂, and Adam would amplify rounding errors.
            if 0 < epoch <= self.ascents:
                for rows in _shuffled(forgotten, task.generator, device):
                    descend(-divergence(theta, rows))
            for rows in _shuffled(kept, task.generator, device):
                descend(self.alpha * divergence(theta, rows) - task.classifier(theta, rows).mean())
            if patience.improves(score(theta.detach())):
                best = theta.detach().clone()
            task.progress(epoch + 1, self.epochs)
        return task.classifier.module(best).eval()
