"""The loss of models that were not trained on the row, and know no failures: a small bagged ensemble."""

from math import log

import torch
from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from repair_pipeline.problem.anew import trained_anew
from repair_pipeline.problem.reading import UNLIKELY
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import of_rows
from repair_pipeline.types import InfluenceScores


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OutOfBag:
    """−log of the mean p(y|x) in nats, over the models that were not trained on the row. Uses no failures.

    The bags are random halves of D and their complements, so each row is out of the bag of ``rounds`` models. Each
    model is trained as the base model is, on half of the rows: costs ``rounds`` trainings.
    """

    rounds: PositiveInt = 3

    def scores(self, task: RepairTask) -> InfluenceScores:
        log_p, of = list[torch.Tensor](), task.classifier.likelihood.log_p

        def in_double(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return of(outputs.double(), labels)

        for number in range(self.rounds):
            order = torch.randperm(len(task.fit), generator=task.generator)
            values = torch.empty(len(order), dtype=torch.float64)
            halves = order.chunk(2)
            for bag, out in (halves, halves[::-1]):
                model = trained_anew(task, task.fit[bag], task.validation)
                values[out] = of_rows(model, task.fit[out], in_double)
            log_p.append(values)
            task.progress(number + 1, self.rounds)
        mean = torch.stack(log_p).logsumexp(dim=0) - log(self.rounds)
        return InfluenceScores(task.fit.ids, -mean, neutral=UNLIKELY)
