"""The area under the margin (Pleiss et al. 2020): margins averaged over a training."""

from __future__ import annotations

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.errors import InputError
from repair_pipeline.models.copying import copied
from repair_pipeline.problem.anew import beginning
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import of_rows
from repair_pipeline.types import InfluenceScores

_CHECKS = 100
"""At most so many forward passes over D in a training."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AUM:
    """−AUM: the largest logit of another class minus the given label's, averaged over a training by the case's recipe.

    Uses no failures. What a model memorises late has a low margin for most of its training.

    # Deviation: margins are measured in eval mode after each epoch, on all rows as they are; Pleiss et al. use the
    outputs of each batch as it is trained on, with its augmentation.
    """

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value in logits for every row of D; higher is more harmful.

        Raises:
            InputError: the training never calls ``progress``.
        """
        model, start = beginning(task)
        seen = list[nn.Module]()
        total, checks, checked = torch.zeros(len(task.fit), dtype=torch.float64), 0, 0.0

        def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[:] = [module]

        def measure(done: int, of: int) -> None:
            nonlocal total, checks, checked
            task.progress(done, of)
            if seen and done / of - checked >= 1 / _CHECKS:
                now = copied(seen[0])  # so that training goes on in the mode that it was in
                now._forward_pre_hooks.clear()
                total, checks, checked = total + of_rows(now, task.fit, lost_by).double(), checks + 1, done / of

        lost_by = task.classifier.likelihood.lost_by
        # Training changes a copy of the model, which has the hook too: so it is seen whoever trains it.
        model.register_forward_pre_hook(see)
        task.training.fit(model, task.fit, task.validation, task.generator, start=start, progress=measure)
        if not checks:
            raise InputError(
                "aum measures margins as training advances, but the case's training function never calls progress: "
                "call progress(epoch, epochs) after each epoch, or use margin"
            )
        return InfluenceScores(task.fit.ids, total / checks, unit="logits", notes={"checks": checks})
