"""Fitting with early stopping."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from repair_pipeline.training import fit as fitting
from repair_pipeline.training.fit import Schedule, accuracy, logits, mean_probability, predictions
from repair_pipeline_tests.problems import blobs, logistic, seeded

TRAIN, VALIDATION = blobs(60, seed=1), blobs(30, seed=2)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def normalised():
    return seeded(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 3)))


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def snapshots(monkeypatch, scores):
    """What the model was at every check of the validation rows, each check being told a score."""
    seen, remaining_scores = [], iter(scores)

    def score(model, rows):
        assert rows.ids.tolist() == VALIDATION.ids.tolist()
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return next(remaining_scores)

    monkeypatch.setattr(fitting, "mean_probability", score)
    return seen


def test_the_best_epochs_weights_are_restored(monkeypatch):
    seen = snapshots(monkeypatch, [0.1, 0.5, 0.4, 0.45, 0.5, 0.9])
    model = Schedule(patience=3).fit(logistic(), TRAIN, VALIDATION, stream(), start="new")
    assert len(seen) == 5
    assert same(model.state_dict(), seen[1])
    assert not same(model.state_dict(), seen[-1])


def test_training_ends_at_max_epochs(monkeypatch):
    seen = snapshots(monkeypatch, np.linspace(0, 1, 100))
    model = Schedule(max_epochs=4).fit(logistic(), TRAIN, VALIDATION, stream(), start="new")
    assert len(seen) == 4
    assert same(model.state_dict(), seen[-1])


def test_fit_climbs_the_likelihood_of_the_training_rows():
    base = logistic()
    model = Schedule(learning_rate=0.05, max_epochs=60).fit(base, TRAIN, VALIDATION, stream(), start="new")
    before, after = (logits(at, TRAIN).log_softmax(1)[torch.arange(60), TRAIN.labels].mean() for at in (base, model))
    assert after > before + 0.5


@pytest.mark.parametrize("start", ["new", "trained"])
def test_one_hot_targets_are_labels_and_a_row_of_weight_zero_is_not_learnt_from(start):
    schedule, hot = Schedule(max_epochs=2), nn.functional.one_hot(TRAIN.labels, 3).double()
    by_label = schedule.fit(logistic(), TRAIN, VALIDATION, stream(), start=start)
    by_target = schedule.fit(logistic(), TRAIN, VALIDATION, stream(), start=start, targets=hot)
    torch.testing.assert_close(by_target.state_dict(), by_label.state_dict(), rtol=1e-10, atol=0)
    hot[:20] = 0
    moved = replace(TRAIN, source=torch.cat([TRAIN.inputs[:20] + 3, TRAIN.inputs[20:]]))
    one, other = (
        schedule.fit(logistic(), rows, VALIDATION, stream(), start=start, targets=hot) for rows in (TRAIN, moved)
    )
    assert same(one.state_dict(), other.state_dict())
    assert not same(one.state_dict(), by_target.state_dict())


def test_validation_rows_are_not_trained_on():
    relabelled = replace(VALIDATION, labels=(VALIDATION.labels + 1) % 3)
    schedule = Schedule(max_epochs=1)
    one, other = (schedule.fit(logistic(), TRAIN, rows, stream(), start="new") for rows in (VALIDATION, relabelled))
    assert same(one.state_dict(), other.state_dict())


def test_a_trained_models_buffers_are_left_alone_and_its_parameters_move():
    base = normalised()
    base.train()(TRAIN.inputs)
    model = Schedule(max_epochs=3).fit(base, TRAIN, VALIDATION, stream(), start="trained")
    assert same(dict(base.named_buffers()), dict(model.named_buffers()))
    assert not any(torch.equal(a, b) for a, b in zip(base.parameters(), model.parameters(), strict=True))


def test_a_new_models_buffers_move():
    base = normalised()
    model = Schedule(max_epochs=1).fit(base, TRAIN, VALIDATION, stream(), start="new")
    assert not same(dict(base.named_buffers()), dict(model.named_buffers()))


@pytest.mark.parametrize("start", ["new", "trained"])
def test_the_model_given_is_left_as_it_is(start):
    base = normalised().train()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    model = Schedule(max_epochs=2).fit(base, TRAIN, VALIDATION, stream(), start=start)
    assert same(before, base.state_dict())
    assert base.training
    assert not model.training


def test_the_same_stream_gives_the_same_bits_dropout_included():
    one, two, other = (
        Schedule(max_epochs=3).fit(normalised(), TRAIN, VALIDATION, stream(seed), start="new").state_dict()
        for seed in (0, 0, 1)
    )
    assert same(one, two)
    assert not same(one, other)


def test_fitting_draws_nothing_from_the_global_stream():
    base = normalised()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    Schedule(max_epochs=1).fit(base, TRAIN, VALIDATION, stream(), start="new")
    assert torch.equal(torch.rand(2), expected)


def test_progress_counts_epochs(monkeypatch):
    snapshots(monkeypatch, [1.0, 0.0, 0.0])
    seen = []
    schedule = Schedule(max_epochs=9, patience=2)
    schedule.fit(
        logistic(), TRAIN, VALIDATION, stream(), start="new", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 9), (2, 9), (3, 9)]


def test_the_defaults_are_app_cs():
    assert Schedule() == Schedule(learning_rate=1e-3, batch_size=64, max_epochs=100, patience=5)


def test_scores_are_those_of_the_softmax():
    model = logistic()
    shares = torch.softmax(TRAIN.inputs @ model.weight.T + model.bias, dim=1).detach()
    given = shares[torch.arange(60), TRAIN.labels]
    torch.testing.assert_close(logits(model, TRAIN, batch_size=7).softmax(1), shares)
    assert torch.equal(predictions(model, TRAIN), shares.argmax(1))
    assert accuracy(model, TRAIN) == (shares.argmax(1) == TRAIN.labels).double().mean()
    assert mean_probability(model, TRAIN) == pytest.approx(given.mean().item(), rel=1e-12)


def test_a_fit_that_never_has_a_score_raises():
    hopeless = replace(TRAIN, source=TRAIN.inputs * float("nan"), rows=None)
    with pytest.raises(FloatingPointError, match="diverged"):
        Schedule(max_epochs=2).fit(logistic(), hopeless, VALIDATION, stream(), start="new")
