"""Confident learning (Northcutt et al. 2021), by cleanlab."""

import torch
from jaxtyping import Float64
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

from repair_pipeline.influence.external import peer
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import logits
from repair_pipeline.types import Causes, InfluenceScores

_FOLDS = 5


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ConfidentLearning:
    """1 − cleanlab's label quality, the self-confidence p(y|x) under a model that was not trained on the row.

    Uses no failures. Out-of-sample probabilities come from five folds, stratified by the given labels; each model is
    trained like the base model. Costs five trainings.
    """

    def scores(self, task: RepairTask) -> InfluenceScores:
        """One value in [0, 1] for every row of D; higher is more harmful.

        Raises:
            InputError: cleanlab is not installed.
        """
        rank, labels = peer("cleanlab.rank"), task.fit.labels.cpu().numpy()
        quality = rank.get_label_quality_scores(labels, _out_of_sample(task).numpy())
        return InfluenceScores(task.fit.ids, 1 - torch.from_numpy(quality).double(), unit="probability", neutral=0.5)


def label_issues(task: RepairTask) -> Causes:
    """The rows that cleanlab's ``find_label_issues`` names at its defaults, least self-confident first.

    It estimates how many rows of each class are labelled as each other class. Costs five trainings.

    Raises:
        InputError: cleanlab is not installed.
    """
    find = peer("cleanlab.filter").find_label_issues
    labels, probabilities = task.fit.labels.cpu().numpy(), _out_of_sample(task).numpy()
    # One process: the trainings have used torch's threads, which a forked process cannot.
    at = find(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    return Causes(tuple(task.fit.ids[at].tolist()))


def _out_of_sample(task: RepairTask) -> Float64[Tensor, "n k"]:
    """p(y|x) of D's rows by models that were not trained on the row."""
    labels = task.fit.labels.cpu().numpy()
    seed = int(torch.randint(2**31, (), generator=task.generator))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    held_out, predicted = [], []
    for done, (train, test) in enumerate(folds.split(labels, labels), start=1):
        model = task.training.fit(
            task.untrained(task.generator),
            task.fit[torch.from_numpy(train)],
            task.validation,
            task.generator,
            start="new",
        )
        held_out.append(torch.from_numpy(test))
        predicted.append(logits(model, task.fit[held_out[-1]]).double().softmax(dim=1))
        task.progress(done, _FOLDS)
    return torch.cat(predicted)[torch.cat(held_out).argsort()]
