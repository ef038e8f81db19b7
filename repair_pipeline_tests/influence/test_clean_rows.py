"""The baselines on clean rows, against plain loops over the same batches."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.influence.clean_rows import CleanReference, FinetuneLoss
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.types import Examples


def fewer_than_a_batch(task):
    """Twenty failures and as many guard cases: every batch is all of them, each weighing the same."""
    return replace(task, tests=replace(task.tests, query=task.tests.query[:20]))


def trained_on_all(model, clean, steps, peak):
    """One-cycle Adam on the mean log p of all rows, each step."""
    optimiser = torch.optim.Adam(model.parameters(), lr=peak)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(clean.inputs), clean.labels).backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def losses(model, rows):
    return nn.functional.cross_entropy(model(rows.inputs), rows.labels, reduction="none").detach()


def test_finetune_loss_is_the_loss_after_adam_on_the_clean_rows(task):
    task = fewer_than_a_batch(task)
    scores = FinetuneLoss(guard_ratio=1).scores(task)
    clean = Examples.concat([task.tests.query, task.tests.guard[:20]])
    model = trained_on_all(task.classifier.module(task.theta_hat), clean, steps=150, peak=3e-3)
    # Not to the last digit: Adam's ε weighs differently on the sum of log p, which EWC climbs, than on the mean.
    torch.testing.assert_close(scores.values, losses(model, task.fit), rtol=1e-4, atol=1e-6)


def test_clean_reference_is_the_loss_of_a_new_model_trained_on_the_clean_rows(task):
    task = fewer_than_a_batch(task)
    model = task.untrained(torch.Generator().manual_seed(0))
    scores = CleanReference(guard_ratio=1, steps=60, peak=0.02).scores(task)
    clean = Examples.concat([task.tests.query, task.tests.guard[:20]])
    model = trained_on_all(model, clean, steps=60, peak=0.02)
    torch.testing.assert_close(scores.values, losses(model, task.fit), rtol=1e-6, atol=1e-9)


def test_finetune_loss_is_ewc_influence_without_a_hold_on_theta_hat(task):
    loose = EWCInfluence(gamma=1e9, reading="posterior_loss").scores(task).values
    again = replace(task, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FinetuneLoss().scores(again).values, loose, rtol=1e-4, atol=1e-6)


def test_clean_reference_learns_from_neither_the_base_model_nor_its_rows(task):
    other = Classifier(task.classifier.module(torch.zeros_like(task.theta_hat)))
    relabelled = replace(task.fit, labels=(task.fit.labels + 1) % 3)
    blind = replace(task, classifier=other, validation=relabelled)
    again = replace(blind, generator=torch.Generator().manual_seed(0))
    assert torch.equal(CleanReference(steps=20).scores(again).values, CleanReference(steps=20).scores(task).values)


@pytest.mark.parametrize("method", [FinetuneLoss, CleanReference])
def test_the_clean_rows_and_their_weights_are_those_of_ewc_influence(task, method):
    settings = {"guard_ratio": 2, "guard_rho": 0.5}
    ewc, baseline = EWCInfluence(**settings), method(**settings)
    factors, expected = baseline.factors(task), ewc.factors(task)
    assert [factor.examples.ids.tolist() for factor in factors] == [factor.examples.ids.tolist() for factor in expected]
    assert [factor.power for factor in factors] == [factor.power for factor in expected] == [1, 0.25]
    assert baseline.scores(task).notes.items() <= ewc.scores(task).notes.items()


def test_clean_reference_trains_in_train_mode(task):
    def with_dropout(generator):
        return nn.Sequential(nn.Dropout(0.5), task.untrained(generator))

    def with_normalisation(generator):
        return nn.Sequential(nn.BatchNorm1d(2, dtype=torch.float64), task.untrained(generator))

    def values(untrained):
        again = replace(task, untrained=untrained, generator=torch.Generator().manual_seed(0))
        return CleanReference(steps=20).scores(again).values

    assert torch.equal(values(with_dropout), values(with_dropout))
    assert not torch.equal(values(with_dropout), values(task.untrained))
    assert not torch.equal(values(with_normalisation), values(task.untrained))
