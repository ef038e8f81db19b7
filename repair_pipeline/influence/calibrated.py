"""Scores of an influence method with the probability that a training row is harmful."""

from dataclasses import replace

import torch

from repair_pipeline.continual.likelihood import log_likelihoods
from repair_pipeline.errors import InputError
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.problem.calibration import harmful_probability, natural_weights
from repair_pipeline.problem.cross_fit import FOLDS, folds
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import accuracy
from repair_pipeline.types import Examples, InfluenceScores


def calibrated(method: InfluenceMethod, task: RepairTask) -> InfluenceScores:
    """A method's scores with P(harmful) for every row of D, calibrated on the clean rows of the query side.

    The query failures and the guard are split into ``FOLDS`` folds. The method runs once for each fold: it reads the
    other folds as failures and guard, and scores the fold's rows together with D, as if they were training rows. These
    scores are the null distribution: no run has learnt the rows that it gives a null for as failures or guard. A method
    that trains on D or measures its curvature (``sgd``, ``linear_gd``, ``functional``) reads them as a part of D, and
    N, which γ depends on, counts them. Failures count in the null as much
    as in the test set, or if θ̂ has learnt D better than that, as the share of D that it gets wrong: to a model that has
    memorised its training rows, none of the clean ones looks like a failure. A row's score is its mean over the runs.
    Costs ``FOLDS`` runs of the method.

    Raises:
        InputError: there are fewer query failures than folds.
    """
    query, guard = task.tests.query, task.tests.guard
    if len(query) < FOLDS:
        raise InputError(
            f"{len(query)} query failures are too few to calibrate scores, {FOLDS} are needed: set causes.top or "
            "causes.fraction, or give more failures"
        )
    share = min(task.tests.failure_share, _training_error(task))
    fold_of_query, fold_of_guard = folds(len(query), task.generator), folds(len(guard), task.generator)
    runs, null, weights = [], [], []
    for fold in range(FOLDS):
        of_query, of_guard = fold_of_query == fold, fold_of_guard == fold
        held_out = Examples.concat([query[of_query], guard[of_guard]])
        scored = method.scores(
            replace(
                task,
                fit=Examples.concat([task.fit, held_out]),
                log_lik_hat=torch.cat(
                    [task.log_lik_hat, log_likelihoods(task.classifier, task.theta_hat, held_out).cpu()]
                ),
                tests=replace(task.tests, query=query[~of_query], guard=guard[~of_guard]),
            )
        )
        runs.append(scored.values[: len(task.fit)])
        null.append(scored.values[len(task.fit) :])
        weights.append(natural_weights(int(of_query.sum()), int(of_guard.sum()), share))
    pooled = torch.stack(runs)
    values = pooled.mean(dim=0)
    probability = harmful_probability(values, pooled.flatten(), torch.cat(null), torch.cat(weights))
    notes = {**scored.notes, "calibration_rows": len(query) + len(guard)}
    return replace(scored, ids=task.fit.ids, values=values, notes=notes, probability=probability)


def _training_error(task: RepairTask) -> float:
    """The share of D's rows whose given label θ̂ does not predict: clean rows that it gets wrong, and harmful ones."""
    return 1 - accuracy(task.classifier.module(task.theta_hat), task.fit)
