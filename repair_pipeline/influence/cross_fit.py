"""How unlikely a row's label is to models that were not trained on the row, but on the failures and the guard."""

import torch
from jaxtyping import Float64, Int64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor

from repair_pipeline.influence.calibration import harmful_probability, natural_weights
from repair_pipeline.problem.cross_fit import out_of_fold
from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CrossFitInfluence:
    """−log p(y|x,θ₋) in nats, θ₋ trained as the base model is on the other folds of D, F_q and the guard.

    Unlike confident learning, the models learn the clean rows too, and these, predicted in the same way, calibrate
    P(harmful). Costs the trainings of ``cross_fit``.
    """

    def scores(self, task: RepairTask) -> InfluenceScores:
        predicted = out_of_fold(task)
        values = _unlikelihood(predicted.fit, task.fit.labels.cpu())
        null = _unlikelihood(predicted.clean, predicted.clean_labels)
        weights = natural_weights(predicted.failures, len(null) - predicted.failures, task.tests.failure_share)
        return InfluenceScores(
            task.fit.ids,
            values,
            notes={"calibration_rows": len(null)},
            neutral=UNLIKELY,
            probability=harmful_probability(values, values, null, weights),
        )


def _unlikelihood(probabilities: Float64[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Float64[Tensor, " n"]:
    tiny = torch.finfo(torch.float64).tiny
    return -probabilities.gather(1, labels[:, None]).flatten().clamp_min(tiny).log()
