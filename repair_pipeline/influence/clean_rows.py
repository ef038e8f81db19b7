"""Baselines that train on the clean query-side rows (failures and guard), without a posterior over D."""

import torch
from jaxtyping import Float
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.func import functional_call

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Diagonal, Laplace
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, InfluenceScores, Theta

_strict = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_strict)
class FinetuneLoss(QueryBased):
    """−log p(z|θ) in nats, with θ̂ fine-tuned on F_q and the guard: EWC-influence's ``posterior_loss`` without prior.

    The difference to EWC-influence is the value of the posterior. Same optimiser, same budget.
    """

    def scores(self, task: RepairTask) -> InfluenceScores:
        factors = self.factors(task)
        flat = Laplace(task.theta_hat, Diagonal(torch.zeros_like(task.theta_hat)))
        learner = EWC(OneCycle(task.generator, progress=task.progress), precision="frozen")
        finetuned = learner.update(flat, factors, task.classifier)
        values = -finetuned.expected_log_lik(task.classifier, task.fit)
        return InfluenceScores(task.fit.ids, values, notes=self.notes(factors), neutral=UNLIKELY)


@dataclass(frozen=True, config=_strict)
class CleanReference(QueryBased):
    """−log p(z|θ) in nats, with θ trained from scratch on F_q and the guard only, in train mode: it never sees D.

    It measures what the clean rows alone are worth. The budget is fixed, because ten failures and ten guard cases leave
    nothing for early stopping.
    """

    steps: PositiveInt = 600
    peak: PositiveFloat = 1e-2
    """The maximum of the one-cycle learning rate. ``steps`` and ``peak`` were chosen by accuracy on held-out query-side
    rows, with 10 to 40 failures."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        factors = self.factors(task)
        device = task.theta_hat.device
        examples = Examples.concat([factor.examples for factor in factors])
        power = torch.cat([torch.full((len(factor.examples),), factor.power) for factor in factors])
        model = task.untrained(task.generator).train()
        names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)

        def log_likelihood(theta: Theta, batch: Tensor) -> Float[Tensor, ""]:
            parts = theta.split([parameter.numel() for parameter in parameters])
            shaped = {name: part.view_as(like) for name, part, like in zip(names, parts, parameters, strict=True)}
            rows = examples[batch].to(device)
            logits = functional_call(model, shaped, (rows.inputs,))
            return -task.classifier.likelihood.loss(logits, rows.labels)

        maximise = OneCycle(task.generator, self.steps, self.peak, progress=task.progress)
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=task.generator)))  # for dropout
            theta = maximise(log_likelihood, power, Classifier(model).theta_hat)
        # Uses the running statistics from training, together with the final parameters.
        values = -log_likelihoods(Classifier(model), theta, task.fit)
        return InfluenceScores(task.fit.ids, values, notes=self.notes(factors), neutral=UNLIKELY)
