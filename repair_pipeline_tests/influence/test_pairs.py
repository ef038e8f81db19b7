"""Influence of single rows on single failures, against dense gradients one at a time."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from repair_pipeline.influence import pairs as module
from repair_pipeline.influence.pairs import pairs


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


def test_batches_and_chunks_do_not_matter(task, monkeypatch):
    failures, rows = task.tests.query, task.fit[:7]
    whole = pairs(task, failures, rows)
    monkeypatch.setattr(module, "gradients_at_once", lambda theta: 3)
    assert_close(pairs(task, failures, rows), whole, rtol=1e-10, atol=1e-15)


def test_progress_counts_the_longer_side_once_for_each_chunk_of_the_shorter(task, monkeypatch):
    monkeypatch.setattr(module, "gradients_at_once", lambda theta: 2)
    seen = []
    pairs(replace(task, progress=lambda *at: seen.append(at)), task.tests.query[:3], task.fit[:5])
    assert seen == [(at, 10) for at in (2, 4, 5, 7, 9, 10)]


@pytest.mark.parametrize(("failures", "rows"), [(0, 5), (3, 0)])
def test_of_no_rows_there_are_no_pairs(task, failures, rows):
    assert pairs(task, task.tests.query[:failures], task.fit[:rows]).shape == (failures, rows)


def test_what_is_not_finite_is_refused(task):
    without = replace(task, fisher=torch.zeros_like(task.fisher))
    with pytest.raises(FloatingPointError, match="5 rows on 2 failures"):
        pairs(without, task.tests.query[:2], task.fit[:5])
