"""How unlikely a row's label is to models that were not trained on the row, but on the failures and the guard."""

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from repair_pipeline.problem.cross_fit import out_of_fold
from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.suggestions import harm
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
        values, harmful = harm(task.classifier.likelihood, predicted, task.fit.labels.cpu(), task.tests.failure_share)
        notes = {"calibration_rows": len(predicted.clean)}
        return InfluenceScores(task.fit.ids, values, notes=notes, neutral=UNLIKELY, probability=harmful)
