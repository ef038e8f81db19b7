"""Cross-fitted scores: they are −log p of models that did not learn the row, and find what is planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.cross_fit import CrossFitInfluence
from repair_pipeline.problem.cross_fit import clean_rows
from repair_pipeline.types import OutOfFold
from repair_pipeline_tests.oracles import auc


def test_scores_are_minus_log_p_of_the_stored_predictions(task):
    clean = clean_rows(task)
    draw = torch.Generator().manual_seed(2)
    fit, known = (
        torch.rand(len(rows), 3, dtype=torch.float64, generator=draw).softmax(dim=1) for rows in (task.fit, clean)
    )
    stored = OutOfFold(fit, known, clean.labels, len(task.tests.query))
    scores = CrossFitInfluence().scores(replace(task, stored_out_of_fold=lambda: stored))
    due = [-np.log(float(fit[row, label])) for row, label in enumerate(task.fit.labels)]
    assert scores.values.tolist() == pytest.approx(due, rel=1e-12)
    assert (scores.ids == task.fit.ids).all()
    assert scores.neutral == pytest.approx(np.log(2))
    assert scores.notes["calibration_rows"] == len(clean)
    assert ((scores.probability >= 0) & (scores.probability < 1)).all()
    ranked = scores.probability[torch.from_numpy(scores.order)]
    assert (ranked.diff() <= 1e-12).all()


def test_planted_rows_are_found_better_than_by_a_model_that_learnt_them(task):
    planted = task.fit.having(task.corrupted).numpy()
    found = auc(CrossFitInfluence().scores(task).values.numpy(), planted)
    assert found > 0.97
    assert found > auc(Loss().scores(task).values.numpy(), planted)
