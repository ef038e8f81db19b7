"""Treatments that train on the remaining data."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.training.fit import Schedule
from repair_pipeline.treatment.learning import Relabel
from repair_pipeline.treatment.training import Combined, Finetune, Retrain, Untouched
from repair_pipeline.types import Causes, Examples
from repair_pipeline_tests.problems import seeded

SOME = Causes(("train003", "train010", "validation002"))


def stream():
    return torch.Generator().manual_seed(0)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_untouched_is_the_base_model(task):
    assert same(Untouched().repaired(task, Causes(())), task.classifier.module(task.theta_hat))


def test_finetune_is_app_cs_scheme_from_theta_hat_on_the_rows_not_removed(task):
    kept = [rows[~rows.having(SOME.as_set)] for rows in (task.fit, task.validation)]
    assert [len(rows) for rows in kept] == [len(task.fit) - 2, len(task.validation) - 1]
    schedule = Schedule(learning_rate=1e-3, batch_size=64, max_epochs=100, patience=5)
    expected = schedule.fit(task.classifier.module(task.theta_hat), *kept, stream(), start="trained")
    assert same(Finetune().repaired(task, SOME), expected)


@pytest.mark.parametrize("treatment", [Finetune(), Retrain()], ids=["finetune", "retrain"])
def test_removed_rows_are_neither_trained_nor_stopped_on(task, monkeypatch, treatment):
    asked = []
    monkeypatch.setattr(Schedule, "fit", lambda self, model, *rows, **settings: asked.append(rows[:2]) or model)
    treatment.repaired(task, SOME)
    ((rows, validation),) = asked
    assert set(rows.ids) == set(task.fit.ids) - SOME.as_set
    assert set(validation.ids) == set(task.validation.ids) - SOME.as_set


def test_finetune_does_not_depend_on_the_settings_of_app_cs_scheme(task):
    other = replace(task, training=Schedule(learning_rate=0.5, max_epochs=1), generator=stream())
    assert same(Finetune().repaired(task, SOME), Finetune().repaired(other, SOME))


class Recorded:
    """A training of the owner's that says what it was asked to do, and does nothing."""

    def __init__(self):
        self.asked = []

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        self.asked.append((theta_of(model), set(train.ids), set(validation.ids), start))
        return model


def theta_of(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


@pytest.mark.parametrize(
    ("treatment", "starts"),
    [(Finetune(), "trained"), (Combined(), "trained"), (Relabel(), "trained"), (Retrain(), "new")],
    ids=["finetune", "combined", "relabel", "retrain"],
)
def test_a_recipe_of_the_owners_trains_in_place_of_app_cs_scheme(task, treatment, starts):
    recorded = Recorded()
    treatment.repaired(replace(task, training=recorded), SOME)
    ((theta, rows, validation, start),) = recorded.asked
    assert start == starts
    assert torch.equal(theta, task.theta_hat) == (starts == "trained")
    relabelled, learnt = isinstance(treatment, Relabel), isinstance(treatment, Combined)
    assert rows & set(task.fit.ids) == set(task.fit.ids) - (set() if relabelled else SOME.as_set)
    _, trainable = watched_and_trained(task.tests.guard)  # the rest is monitored
    assert rows - set(task.fit.ids) == ({*task.tests.query.ids, *trainable.ids} if learnt else set())
    assert validation == set(task.validation.ids) - SOME.as_set


def test_refreshed_batch_normalisation_has_the_statistics_of_the_rows_that_are_left_and_nothing_else_differs(task):
    features = task.fit.inputs.shape[1]
    base = seeded(nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, 3)))
    task = replace(task, classifier=Classifier(base))
    frozen, refreshed = (
        Finetune(batchnorm=how).repaired(replace(task, generator=stream()), SOME).state_dict()
        for how in ("frozen", "refresh")
    )
    left = task.fit[~task.fit.having(SOME.as_set)].inputs
    torch.testing.assert_close(refreshed.pop("0.running_mean"), left.mean(dim=0))
    torch.testing.assert_close(refreshed.pop("0.running_var"), left.var(dim=0))
    assert torch.equal(frozen["0.running_mean"], torch.zeros(features))
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.equal(refreshed[name], frozen[name])


def test_retrain_is_the_bases_scheme_from_another_initialisation(task):
    kept = [rows[~rows.having(SOME.as_set)] for rows in (task.fit, task.validation)]
    generator = stream()
    expected = task.training.fit(task.untrained(generator), *kept, generator, start="new")
    repaired = Retrain().repaired(task, SOME)
    assert same(repaired, expected)
    assert not same(repaired, task.classifier.module(task.theta_hat))


@pytest.mark.parametrize(("treatment", "moves"), [(Finetune(), False), (Retrain(), True)], ids=["finetune", "retrain"])
def test_finetuning_freezes_buffers_and_retraining_does_not(task, treatment, moves):
    def normalised(generator):
        return seeded(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)))

    base = normalised(None)
    base.train()(task.fit.inputs)
    short = Schedule(max_epochs=2, learning_rate=1e-3)
    small = replace(task, classifier=Classifier(base), untrained=normalised, training=short)
    repaired = dict(treatment.repaired(small, SOME).named_buffers())
    assert len(repaired) == 3
    for name, buffer in base.named_buffers():
        assert torch.equal(repaired[name], buffer) is not moves


def test_combined_finetunes_on_what_is_left_and_the_query_side(task):
    kept = [rows[~rows.having(SOME.as_set)] for rows in (task.fit, task.validation)]
    rows = Examples.concat([kept[0], task.tests.query, task.tests.guard])
    expected = Schedule().fit(task.classifier.module(task.theta_hat), rows, kept[1], stream(), start="trained")
    assert same(Combined().repaired(task, SOME), expected)
    assert not set(rows.ids) & set(task.tests.query_tuning.ids)


def test_combined_with_nothing_removed_and_an_empty_query_side_is_finetuning(task):
    nothing = task.tests.query[:0]
    bare = replace(task, tests=replace(task.tests, query=nothing, guard=nothing))
    assert same(
        Combined().repaired(bare, Causes(())), Finetune().repaired(replace(task, generator=stream()), Causes(()))
    )
