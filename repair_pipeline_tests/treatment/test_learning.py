"""Treatments that learn the failures: their optimum and their training rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.training.fit import Schedule, accuracy
from repair_pipeline.treatment import learning
from repair_pipeline.treatment.learning import L2Query, LearnQuery, Relabel
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Causes
from repair_pipeline_tests.oracles import Newton, softmax_gradients
from repair_pipeline_tests.problems import blobs, logistic

SOME = Causes(("train003", "train010", "validation002"))


def stream():
    return torch.Generator().manual_seed(0)


def theta_of(model):
    return Classifier(model).theta_hat


def test_l2_querys_optimum_balances_the_failures_gradient_and_the_pull_to_theta_hat(task, monkeypatch):
    failures = blobs(12, seed=3)
    small = replace(task, classifier=Classifier(logistic()), tests=replace(task.tests, query=failures))
    monkeypatch.setattr(learning, "stopped_by_loss", lambda task: Newton())
    theta = theta_of(L2Query(strength=0.7).repaired(small, Causes(()))).numpy()
    weight, bias = theta[:12].reshape(3, 4), theta[12:]
    slope = softmax_gradients(weight, bias, failures.inputs.numpy(), failures.labels.numpy()).sum(axis=0)
    np.testing.assert_allclose(slope, 0.7 * (theta - small.theta_hat.numpy()), atol=1e-10)
    assert np.linalg.norm(slope) > 0.1


def test_l2_query_keeps_what_is_best_on_query_tuning(task):
    # Tuning cases that contradict the failures: no step helps them, so the start is the best.
    contrary = replace(task.tests.query_tuning, labels=torch.ones_like(task.tests.query_tuning.labels))
    stuck = L2Query(strength=10).repaired(replace(task, tests=replace(task.tests, query_tuning=contrary)), Causes(()))
    assert torch.equal(theta_of(stuck), task.theta_hat)
    free = theta_of(L2Query(strength=10).repaired(task, Causes(())))
    before, after = (
        log_likelihoods(task.classifier, theta, task.tests.query_tuning).mean() for theta in (task.theta_hat, free)
    )
    assert after > before + 1


def test_a_greater_strength_keeps_l2_query_closer(task):
    far, near = (
        (theta_of(L2Query(strength=strength).repaired(replace(task, generator=stream()), Causes(()))) - task.theta_hat)
        .norm()
        .item()
        for strength in (0.1, 1e4)
    )
    assert near < 0.2 * far


@pytest.mark.parametrize("settings", [{}, {"guard": "none"}, {"guard_rho": 0.5, "gamma": 0.2, "prior": 0.1}], ids=str)
def test_learn_query_ends_at_the_theta_that_ewc_influence_reads(task, settings):
    read = EWCInfluence(reading="posterior_loss", **settings).scores(replace(task, generator=stream())).values
    learnt = theta_of(LearnQuery(**settings).repaired(task, SOME))
    torch.testing.assert_close(-log_likelihoods(task.classifier, learnt, task.fit), read, rtol=1e-12, atol=0)


def test_relabel_finetunes_on_all_of_d_with_the_learnt_models_labels_for_the_causes(task):
    generator = stream()
    learnt = LearnQuery().repaired(replace(task, generator=generator), SOME)
    labels = task.fit.labels.clone()
    for at, name in enumerate(task.fit.ids):
        if name in SOME.ids:
            with torch.no_grad():
                labels[at] = learnt(task.fit.inputs[at][None]).argmax()
    expected = Schedule().fit(
        task.classifier.module(task.theta_hat),
        replace(task.fit, labels=labels),
        task.validation[~task.validation.having(SOME.as_set)],
        generator,
        start="trained",
    )
    assert torch.equal(theta_of(Relabel().repaired(task, SOME)), theta_of(expected))


def test_relabel_gives_mislabelled_rows_their_true_labels(task, monkeypatch):
    asked = []
    monkeypatch.setattr(Schedule, "fit", lambda self, model, rows, *rest, **settings: asked.append(rows) or model)
    Relabel().repaired(task, Causes(tuple(sorted(task.corrupted))))
    (rows,) = asked
    mislabelled = rows.having(task.corrupted)
    assert rows.ids.tolist() == task.fit.ids.tolist()
    assert (task.fit.labels[mislabelled] == 1).all()
    assert (rows.labels[mislabelled] == 0).all()
    assert torch.equal(rows.labels[~mislabelled], task.fit.labels[~mislabelled])


def test_relabel_without_causes_is_finetuning_after_learning(task):
    generator = stream()
    LearnQuery().repaired(replace(task, generator=generator), Causes(()))
    expected = Finetune().repaired(replace(task, generator=generator), Causes(()))
    assert torch.equal(theta_of(Relabel().repaired(task, Causes(()))), theta_of(expected))


@pytest.mark.parametrize("treatment", [L2Query(strength=10), LearnQuery()], ids=["l2_query", "learn_query"])
def test_learning_the_failures_removes_nothing_and_reads_no_training_row(task, treatment):
    emptied = replace(task, fit=replace(task.fit, labels=torch.zeros_like(task.fit.labels)), generator=stream())
    repaired = treatment.repaired(task, Causes(()))
    assert torch.equal(theta_of(repaired), theta_of(treatment.repaired(emptied, SOME)))
    assert accuracy(repaired, task.tests.query) == 1
