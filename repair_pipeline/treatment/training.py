"""Treatments that train on the remaining data D∖C."""

from dataclasses import replace
from typing import Literal

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn
from torch.optim.swa_utils import update_bn

from repair_pipeline.problem.cross_fit import clean_rows
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.finetuning import finetuned
from repair_pipeline.types import Causes, Examples

_strict = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_strict)
class Untouched:
    """No treatment: the base model."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return task.classifier.module(task.theta_hat)


@dataclass(frozen=True, config=_strict)
class Finetune:
    """Train on D∖C from θ̂ (Sec. 2.2, Example 1), as ``finetuned`` says.

    App. C's scheme, at its defaults whatever ``training`` says, keeps the buffers frozen and stops early by the
    validation rows that are not removed. Controls are trained in the same way.
    """

    batchnorm: Literal["frozen", "refresh"] = "frozen"
    """``refresh``: re-estimate batch normalisation's statistics, which include C, on D∖C."""

    models: PositiveInt = 1
    """Number of fine-tunings, each with its own batches, whose weights are averaged."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        rest = task.fit.without(causes.as_set)
        model = finetuned(task, rest, task.validation.without(causes.as_set), models=self.models)
        if self.batchnorm == "refresh":
            device = task.theta_hat.device
            update_bn((batch.inputs.to(device) for batch in rest.batches(500)), model)
        return model


@dataclass(frozen=True, config=_strict)
class Combined:
    """Fine-tune on (D∖C) ∪ F_q (App. B.4) and the guard pool: deletion and learning combined.

    Deviation: App. B.4 has no guard. The failures alone would shift the class proportions and thereby the model. Early
    stopping is by validation as in all fine-tuning here, without an L2 term.
    """

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        # What is monitored must not be trained on.
        learnt = clean_rows(task) if task.monitored else Examples.concat([task.tests.query, task.tests.guard])
        return Finetune().repaired(
            replace(task, fit=Examples.concat([task.fit.without(causes.as_set), learnt])), causes
        )


@dataclass(frozen=True, config=_strict)
class Retrain:
    """Train from scratch on D∖C from another initialisation, as the base model is trained."""

    def repaired(self, task: RepairTask, causes: Causes) -> nn.Module:
        return task.training.fit(
            task.untrained(task.generator),
            task.fit.without(causes.as_set),
            task.validation.without(causes.as_set),
            task.generator,
            start="new",
            progress=task.progress,
        )
