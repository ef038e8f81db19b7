"""The baselines, against their definitions."""

import numpy as np
import torch

from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random


def test_loss_is_minus_the_log_likelihood(task):
    assert torch.equal(Loss().scores(task).values, -task.log_lik_hat)


def test_margin_is_the_strongest_other_logit_less_the_given_one(task):
    logits = task.classifier.logits(task.theta_hat, task.fit.inputs).numpy()
    expected = [
        max(value for label, value in enumerate(row) if label != given) - row[given]
        for row, given in zip(logits, task.fit.labels.tolist(), strict=True)
    ]
    np.testing.assert_allclose(Margin().scores(task).values, expected, rtol=1e-12)


def test_a_positive_margin_is_a_misclassified_row(task):
    wrong = task.classifier.logits(task.theta_hat, task.tests.query.inputs).argmax(1) != task.tests.query.labels
    rows = type(task)(**{**vars(task), "fit": task.tests.query})
    assert torch.equal(Margin().scores(rows).values > 0, wrong)
    assert wrong.all()


def test_random_is_uniform_and_draws_anew(task):
    first, second = Random().scores(task).values, Random().scores(task).values
    assert not torch.equal(first, second)
    assert ((first >= 0) & (first < 1)).all()


def test_oracle_is_one_for_planted_rows_and_zero_for_the_rest(task):
    assert torch.equal(Oracle().scores(task).values == 1, task.fit.having(task.corrupted))
    assert set(Oracle().scores(task).values.tolist()) == {0.0, 1.0}
