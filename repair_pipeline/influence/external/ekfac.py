"""Influence functions with EK-FAC (Grosse et al. 2023), by kronfluence."""

import logging
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from repair_pipeline.errors import InputError
from repair_pipeline.influence.external import own_logging, peer
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, InfluenceScores

_BATCH = 128


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EKFAC(QueryBased):
    """r̃(z) = −(1/N) ∇log p(z|θ̂)ᵀ (F̂ + damping)⁻¹ Σ power · ∇log p(F_q, B_q|θ̂), with F̂ the EK-FAC Fisher.

    Linear influence (Eq. 9) at γ = 1/N with another Fisher: labels are drawn from the model, and the damping is a tenth
    of the mean eigenvalue of each layer, both as published. Only linear and convolution layers are used. In nats, to
    first order. Failures and guard are summed into one query, so it costs three passes over D.
    """

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value in nats for every row of D; positive is harmful.

        Raises:
            InputError: kronfluence is not installed, or supports none of the model's layers.
        """
        kronfluence, arguments = peer("kronfluence"), peer("kronfluence.arguments")
        unsupported = peer("kronfluence.utils.exceptions").IllegalTaskConfigurationError
        factors = self.factors(task)
        dtype, device = task.theta_hat.dtype, task.theta_hat.device
        query = Examples.concat([factor.examples for factor in factors])
        power = torch.cat([torch.full((len(factor.examples),), factor.power, dtype=dtype) for factor in factors])
        passes = 3 * len(task.fit) + len(query)

        class Likelihood(kronfluence.Task):  # type: ignore[name-defined]  # imported late
            """−log p of a batch; for the Fisher with labels drawn from the model."""

            done = 0

            def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
                inputs, labels = batch
                logits = model(inputs)
                if sample:
                    labels = torch.multinomial(logits.detach().softmax(dim=1), 1).flatten()
                return self.counted(nn.functional.cross_entropy(logits, labels, reduction="none")).sum()

            def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
                inputs, labels, power = batch
                return power @ self.counted(nn.functional.cross_entropy(model(inputs), labels, reduction="none"))

            def counted(self, losses: Tensor) -> Tensor:
                self.done += len(losses)
                task.progress(self.done, passes)
                return losses

        likelihood = Likelihood()
        rows = TensorDataset(task.fit.tensor.cpu(), task.fit.labels.cpu())
        gradient_dtype = {"per_sample_gradient_dtype": dtype}
        with TemporaryDirectory() as folder, torch.random.fork_rng(), own_logging():
            torch.manual_seed(int(torch.randint(2**62, (), generator=task.generator)))
            try:
                analyzer = kronfluence.Analyzer(
                    "ekfac",
                    kronfluence.prepare_model(task.classifier.module(task.theta_hat), likelihood),
                    likelihood,
                    cpu=device.type == "cpu",
                    log_level=logging.ERROR,
                    disable_tqdm=True,
                    output_dir=folder,
                )
            except unsupported as error:
                raise InputError(
                    "ekfac supports nn.Linear and nn.Conv2d, but the model has neither: leave it out"
                ) from error
            analyzer.fit_all_factors(
                "fisher",
                rows,
                per_device_batch_size=_BATCH,
                factor_args=arguments.FactorArguments(
                    strategy="ekfac",
                    activation_covariance_dtype=dtype,
                    gradient_covariance_dtype=dtype,
                    lambda_dtype=dtype,
                    **gradient_dtype,
                ),
            )
            analyzer.compute_pairwise_scores(
                "influence",
                "fisher",
                query_dataset=TensorDataset(query.tensor.cpu(), query.labels.cpu(), power),
                train_dataset=rows,
                per_device_query_batch_size=_BATCH,
                per_device_train_batch_size=_BATCH,
                score_args=arguments.ScoreArguments(
                    damping_factor=None,
                    aggregate_query_gradients=True,
                    precondition_dtype=dtype,
                    score_dtype=dtype,
                    **gradient_dtype,
                ),
            )
            pairs = analyzer.load_pairwise_scores("influence")["all_modules"]
        return InfluenceScores(task.fit.ids, -pairs[0].double() / len(task.fit), notes=self.notes(factors))
