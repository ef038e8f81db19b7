"""Influence of single rows on single failures, against dense gradients one at a time."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.influence import pairs as module
from repair_pipeline.influence.pairs import affordable_rows, gradients_needed, pairs


def slope(task, example):
    theta = task.theta_hat.clone().requires_grad_(True)
    return torch.autograd.grad(task.classifier(theta, example).sum(), theta)[0]


def one_by_one(task, failures, rows, damping):
    curvature = torch.stack([slope(task, task.fit[at : at + 1]) ** 2 for at in range(len(task.fit))]).sum(dim=0)
    inverse = torch.diag(1 / (curvature + damping * curvature.mean()))
    values = [
        [-(slope(task, failures[f : f + 1]) @ inverse @ slope(task, rows[z : z + 1])).item() for z in range(len(rows))]
        for f in range(len(failures))
    ]
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("failures", "rows", "damping"), [(3, 7, 0.01), (6, 4, 0.5)])
def test_an_influence_is_a_product_of_two_gradients_in_the_posteriors_metric(task, failures, rows, damping):
    failing, some = task.tests.query[:failures], task.fit[:rows]
    assert_close(pairs(task, failing, some, damping), one_by_one(task, failing, some, damping), rtol=1e-9, atol=1e-15)


def test_a_mislabelled_copy_of_a_failure_harms_it_and_a_rightly_labelled_one_helps(task):
    failures = task.tests.query[:8]
    mislabelled = replace(failures, labels=torch.ones_like(failures.labels))
    assert (pairs(task, failures, mislabelled).diagonal() > 0).all()
    assert (pairs(task, failures, failures).diagonal() < 0).all()


def test_influence_is_symmetric(task):
    a, b = task.tests.query[:5], task.fit[:5]
    assert_close(pairs(task, a, b), pairs(task, b, a).T, rtol=1e-10, atol=1e-15)


def hold(monkeypatch, task, gradients):
    monkeypatch.setattr(module, "_HELD", gradients * len(task.theta_hat) * task.theta_hat.element_size())


@pytest.mark.parametrize("held", [1, 2, 7, 100])
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize(("failures", "rows"), [(4, 7), (7, 4)])
def test_batches_and_chunks_do_not_matter(task, monkeypatch, held, at_once, failures, rows):
    failing, some = task.tests.query[:failures], task.fit[:rows]
    expected = one_by_one(task, failing, some, 0.01)
    hold(monkeypatch, task, held)
    monkeypatch.setattr(module, "gradients_at_once", lambda theta: at_once)
    assert_close(pairs(task, failing, some), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("failures", "rows"), [(3, 5), (5, 3), (5, 5), (1, 4), (0, 5)])
@pytest.mark.parametrize("held", [1, 2, 3, 10])
def test_as_many_gradients_are_computed_as_are_foretold(task, monkeypatch, failures, rows, held):
    hold(monkeypatch, task, held)
    monkeypatch.setattr(module, "gradients_at_once", lambda theta: 2)
    batches, seen, gradients = [], [], Classifier.gradients

    def counted(self, theta, rows):
        batches.append(len(rows))
        return gradients(self, theta, rows)

    monkeypatch.setattr(Classifier, "gradients", counted)
    counted_task = replace(task, progress=lambda *at: seen.append(at))
    pairs(counted_task, task.tests.query[:failures], task.fit[:rows])
    assert sum(batches) == gradients_needed(task.theta_hat, failures, rows)
    assert max(batches, default=0) <= 2
    assert seen == [(sum(batches[: at + 1]), sum(batches)) for at in range(len(batches))]


def test_the_shorter_side_is_read_once_and_the_longer_side_once_for_each_part_that_is_held(task, monkeypatch):
    hold(monkeypatch, task, 3)
    assert gradients_needed(task.theta_hat, failures=10, rows=3) == 3 + 10
    assert gradients_needed(task.theta_hat, failures=10, rows=4) == 4 + 2 * 10
    assert gradients_needed(task.theta_hat, failures=4, rows=10) == 4 + 2 * 10


@pytest.mark.parametrize(
    ("fit", "failures", "most", "due"),
    [
        (1000, 100, 20, 20),  # 20 + 4 · 100 ≤ 1000 + 100
        (300, 100, 20, 15),  # 15 + 3 · 100 ≤ 300 + 100, but 16 + 4 · 100 is more
        (100, 400, 20, 5),  # one part of five, and one pass over the failures
        (3, 400, 20, 3),  # no more than there are
        (100, 0, 20, 20),
    ],
)
def test_as_many_rows_are_paired_as_the_price_of_the_fisher_and_a_pass_over_the_failures_allows(
    task, monkeypatch, fit, failures, most, due
):
    hold(monkeypatch, task, 5)
    assert affordable_rows(task.theta_hat, fit, failures, most) == due


@pytest.mark.parametrize(("failures", "rows"), [(0, 5), (3, 0)])
def test_of_no_rows_there_are_no_pairs(task, failures, rows):
    assert pairs(task, task.tests.query[:failures], task.fit[:rows]).shape == (failures, rows)


def test_what_is_not_finite_is_refused(task):
    without = replace(task, fisher=torch.zeros_like(task.fisher))
    with pytest.raises(FloatingPointError, match="5 rows on 2 failures"):
        pairs(without, task.tests.query[:2], task.fit[:5])
