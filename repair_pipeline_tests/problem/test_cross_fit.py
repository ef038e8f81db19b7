"""Predictions of models that were not trained on the row."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.models.user_model import freeze
from repair_pipeline.problem.cross_fit import FOLDS, clean_rows, cross_fit, folds, out_of_fold
from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.training.fit import Schedule


class Remembering(nn.Module):
    """Its logits are a row's two inputs, and 50 for a row that it was trained on."""

    def __init__(self, trained):
        super().__init__()
        self.trained, self.unused = trained, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        known = (x[:, None] == self.trained[None]).all(dim=2).any(dim=1)
        return torch.cat([x, 50 * known[:, None].to(x)], dim=1)


class Recording:
    """A training that remembers what it was asked to do."""

    def __init__(self):
        self.asked = []

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        self.asked.append((model, train, validation, start))
        return Remembering(train.inputs)


@pytest.fixture
def task(task):
    """The task, without copies of failures in D, so that a row is known by its inputs."""
    moved = task.fit.inputs + 1e-3 * torch.randn(task.fit.inputs.shape, generator=torch.Generator().manual_seed(1))
    return replace(task, fit=replace(task.fit, source=moved))


@pytest.fixture
def recorded(task):
    """The task's training, which remembers, and what cross-fitting with it predicts."""
    training = Recording()
    return training, cross_fit(replace(task, training=training))


def of_strangers(rows):
    """p(y|x) by models that remember none of the rows."""
    return torch.cat([rows.inputs, torch.zeros(len(rows), 1)], dim=1).softmax(dim=1)


def test_every_row_is_predicted_in_its_place_by_a_model_that_was_not_trained_on_it(task, recorded):
    predicted = recorded[1]
    torch.testing.assert_close(predicted.fit, of_strangers(task.fit))
    torch.testing.assert_close(predicted.clean, of_strangers(clean_rows(task)))
    assert torch.equal(predicted.clean_labels, clean_rows(task).labels)
    assert predicted.failures == len(task.tests.query)


def test_every_row_is_trained_on_by_all_models_but_one_and_no_other_row_by_any(task, recorded):
    rows = [*task.fit.ids, *clean_rows(task).ids]
    trained = [train for _, train, _, _ in recorded[0].asked]
    names = [name for train in trained for name in train.ids]
    assert len(trained) == FOLDS
    assert sorted(names) == sorted(rows * (FOLDS - 1))
    left_out = [len(rows) - len(each) for each in trained]
    assert max(left_out) - min(left_out) <= 1
    watched, _ = watched_and_trained(task.tests.guard)
    assert len(watched) > 0
    assert not {*watched.ids, *task.tests.query_tuning.ids, *task.validation.ids} & set(names)
    assert all(validation is task.validation for _, _, validation, _ in recorded[0].asked)


def test_models_are_new_unless_only_a_part_is_adapted(task, recorded):
    models, starts = zip(*((model, start) for model, _, _, start in recorded[0].asked), strict=True)
    weights = {tuple(next(model.parameters()).flatten().tolist()) for model in models}
    assert starts == ("new",) * FOLDS
    assert len(weights) == FOLDS
    base, training = freeze(task.classifier.module(task.theta_hat), "last_layer"), Recording()
    cross_fit(replace(task, training=training, classifier=Classifier(base)))
    for model, _, _, start in training.asked:
        assert start == "trained"
        for name, value in model.state_dict().items():
            assert torch.equal(value, base.state_dict()[name])


def test_a_rows_own_label_does_not_change_its_prediction(task):
    short = replace(task, training=Schedule(max_epochs=3))
    first, changed = cross_fit(short), task.fit.labels.clone()
    changed[7] = (changed[7] + 1) % 3
    other = replace(short, fit=replace(task.fit, labels=changed), generator=torch.Generator().manual_seed(0))
    second = cross_fit(other)
    assert torch.equal(first.fit[7], second.fit[7])
    assert not torch.equal(first.fit, second.fit)


def test_stored_predictions_are_read_and_nothing_is_trained(task, recorded):
    training = Recording()
    stored = replace(task, training=training, stored_out_of_fold=lambda: recorded[1])
    assert out_of_fold(stored) is recorded[1]
    assert training.asked == []
    assert len(out_of_fold(replace(task, training=training)).fit) == len(task.fit)
    assert len(training.asked) == FOLDS


@pytest.mark.parametrize("count", [3, 8, 10])
def test_folds_are_equally_large_to_within_a_row(count, generator):
    sizes = torch.bincount(folds(count, generator), minlength=FOLDS)
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1
