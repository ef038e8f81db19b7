"""Correcting the labels of the causes: what is trained on, and on which labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.problem.cross_fit import clean_rows, cross_fit
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.training.fit import accuracy, mean_probability
from repair_pipeline.treatment.correct import Correct
from repair_pipeline.treatment.training import Retrain
from repair_pipeline.types import Causes
from repair_pipeline_tests.treatment.test_training import same, stream, theta_of

SOME = Causes(("train003", "train010", "validation002"))


@pytest.fixture(scope="module")
def predicted(_trained_task):
    return cross_fit(replace(_trained_task, generator=stream()))


@pytest.fixture
def task(_trained_task, predicted):
    """The task with the predictions that a case stores, its random stream at the start."""
    return replace(_trained_task, generator=stream(), stored_out_of_fold=lambda: predicted)


class Recorded:
    def __init__(self):
        self.asked = []

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        self.asked.append((theta_of(model), train, validation, start, targets))
        return model


def asked(task, treatment, causes):
    recorded = Recorded()
    treatment.repaired(replace(task, training=recorded), causes)
    ((theta, rows, validation, start, targets),) = recorded.asked
    return theta, rows, validation, start, targets.double().numpy()


def test_with_no_causes_and_ds_rows_alone_it_is_plain_training(task):
    trained = Correct(pool="data_only").repaired(task, Causes(()))
    assert same(trained, Retrain().repaired(replace(task, generator=stream()), Causes(())))


def test_causes_get_soft_labels_and_all_other_rows_keep_theirs(task, predicted):
    _, rows, _, _, targets = asked(task, Correct(pool="data_only"), SOME)
    given, share = task.fit.labels, task.tests.failure_share
    _, harmful = harm(SOFTMAX, predicted, given, share)
    others = suggestions(SOFTMAX, predicted, given, harmful, share).others.numpy()
    assert rows.ids.tolist() == task.fit.ids.tolist()
    for row, name in enumerate(rows.ids):
        wrong = float(harmful[row]) if name in SOME.ids else 0.0
        due = wrong * others[row] + (1 - wrong) * np.eye(3)[given[row]]
        np.testing.assert_allclose(targets[row], due, atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


def test_the_clean_rows_follow_with_their_labels_and_what_is_watched_is_never_trained_on(task):
    _, rows, validation, _, targets = asked(task, Correct(), SOME)
    clean, n = clean_rows(task), len(task.fit)
    assert rows.ids.tolist() == [*task.fit.ids, *clean.ids]
    np.testing.assert_array_equal(targets[n:], np.eye(3)[clean.labels])
    watched, _ = watched_and_trained(task.tests.guard)
    assert len(watched) > 0
    assert not {*watched.ids, *task.tests.query_tuning.ids, *task.validation.ids} & set(rows.ids)
    assert set(validation.ids) == set(task.validation.ids) - SOME.as_set


@pytest.mark.parametrize("start", ["new", "trained"])
def test_it_starts_anew_or_from_theta_hat(task, start):
    theta, _, _, started, _ = asked(task, Correct(start=start), SOME)
    assert started == start
    assert torch.equal(theta, task.theta_hat) == (start == "trained")


def test_correcting_the_planted_rows_repairs_the_failures_without_training_on_any(task):
    planted = Causes(tuple(sorted(task.corrupted)))
    correct = Correct(pool="data_only")
    uncorrected = correct.repaired(task, Causes(()))
    corrected = correct.repaired(replace(task, generator=stream()), planted)
    assert mean_probability(uncorrected, task.tests.query_tuning) < 0.7
    assert mean_probability(corrected, task.tests.query_tuning) > 0.9
    assert accuracy(corrected, task.tests.guard) > 0.98
