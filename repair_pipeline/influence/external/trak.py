"""TRAK (Park et al. 2023), by traker."""

import logging
from contextlib import redirect_stderr
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from repair_pipeline.errors import InputError
from repair_pipeline.influence.external import own_logging, peer
from repair_pipeline.problem.query import QueryBased
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import Examples, InfluenceScores

_BATCH = 100
_SKETCH = 2**26
"""Entries of the projection matrix drawn at once: 256 MiB."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TRAK(QueryBased):
    """r̃(z) = −(1 − p(z|θ̂)) φ(z)ᵀ (ΦᵀΦ)⁻¹ Σ power · φ(F_q, B_q), φ the projected gradient of the margin log p/(1 − p).

    θ̂ is the only checkpoint. Float32, without a unit, as traker rescales the inverse; positive is harmful. Costs a
    per-sample gradient and its projection for every row of D, the failures and the guard.
    """

    proj_dim: Annotated[int, Field(ge=2)] = 128
    """The dimension that gradients are projected to; far below the number of rows of D, or ΦᵀΦ fits their noise."""

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value for every row of D; positive is harmful.

        Raises:
            InputError: traker is not installed, or ``proj_dim`` is too large.
            FloatingPointError: ΦᵀΦ has no inverse in float32.
        """
        trak, projectors = peer("trak"), peer("trak.projectors")
        parameters, device = len(task.theta_hat), str(task.theta_hat.device)
        if self.proj_dim >= min(len(task.fit), parameters):
            raise InputError(
                f"trak.proj_dim is {self.proj_dim}, but it must be below both the {len(task.fit)} rows and the "
                f"{parameters} parameters: choose a smaller one"
            )
        factors = self.factors(task)
        query = Examples.concat([factor.examples for factor in factors])
        model = task.classifier.module(task.theta_hat).float()
        projector = projectors.BasicProjector(
            grad_dim=parameters,
            proj_dim=self.proj_dim,
            seed=int(torch.randint(2**31, (), generator=task.generator)),
            proj_type=projectors.ProjectionType.normal,
            device=device,
            # At least two blocks, which are drawn again for each batch: traker discards a single block before scoring.
            block_size=max(1, min(self.proj_dim // 2, _SKETCH // parameters)),
        )
        with TemporaryDirectory() as folder, own_logging():
            tracer = trak.TRAKer(
                model,
                "image_classification",
                train_set_size=len(task.fit),
                save_dir=folder,
                device=device,
                projector=projector,
                use_half_precision=False,
                logging_level=logging.ERROR,
            )
            checkpoint, done = model.state_dict(), 0
            tracer.load_checkpoint(checkpoint, model_id=0)
            for rows, project in ((task.fit, tracer.featurize), (query, tracer.score)):
                if rows is query:
                    _check_spread(tracer.saver.current_store["grads"])
                    with redirect_stderr(StringIO()):  # traker's progress bar
                        tracer.finalize_features()
                    tracer.start_scoring_checkpoint("failures", checkpoint, model_id=0, num_targets=len(query))
                for batch in rows.batches(_BATCH):
                    at = batch.to(task.theta_hat.device)
                    project((at.tensor.float(), at.labels), num_samples=len(batch))
                    done += len(batch)
                    task.progress(done, len(task.fit) + len(query))
            with redirect_stderr(StringIO()):
                helpful = np.array(tracer.finalize_scores("failures"), dtype=np.float64)
        power = np.concatenate([np.full(len(factor.examples), factor.power) for factor in factors])
        values = torch.from_numpy(-helpful @ power)
        return InfluenceScores(task.fit.ids, values, unit="none", notes=self.notes(factors))


def _check_spread(features: NDArray[np.float32]) -> None:
    condition = np.linalg.cond(features.astype(np.float64)) ** 2
    # traker inverts ΦᵀΦ without checking it; beyond float32's precision the result would be noise.
    if not condition < 1 / np.finfo(np.float32).eps:
        raise FloatingPointError(
            f"the gradients of {len(features)} rows, projected to {features.shape[1]} dimensions, do not span them in "
            f"float32 (condition {condition:.0e}): set trak.proj_dim to a smaller number"
        )
