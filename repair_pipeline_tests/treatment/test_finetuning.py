"""Training further from a model that was trained elsewhere: what is returned, and what is never read."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.problem.query import watched_and_trained
from repair_pipeline.training.fit import Schedule, accuracy
from repair_pipeline.treatment.finetuning import TOLERANCE, average, between, careful, clean_score, finetuned
from repair_pipeline.treatment.fitness import fitness
from repair_pipeline.treatment.training import Combined, Finetune
from repair_pipeline.types import Causes


def theta_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture
def elsewhere(task):
    return replace(task, unknown_recipe=True, generator=torch.Generator().manual_seed(0))


def moved(task, by):
    """θ̂ with every parameter changed by a random amount of this size."""
    noise = torch.randn(task.theta_hat.shape, generator=torch.Generator().manual_seed(1), dtype=task.theta_hat.dtype)
    return task.classifier.module(task.theta_hat + by * noise)


@pytest.mark.parametrize("by", [0.01, 0.1, 1.0, 10.0])
def test_what_is_returned_lies_on_the_line_and_within_the_tolerance(elsewhere, by):
    reached = moved(elsewhere, by)
    chosen = between(elsewhere, reached)
    way, step = theta_of(reached) - elsewhere.theta_hat, theta_of(chosen) - elsewhere.theta_hat
    share = float(step @ way / (way @ way))
    assert share == pytest.approx(round(share, 1), abs=1e-9)
    torch.testing.assert_close(step, share * way, rtol=1e-9, atol=1e-12)
    watched, _ = watched_and_trained(elsewhere.tests.guard)
    assert accuracy(chosen, watched) >= 1 - TOLERANCE
    every = [elsewhere.classifier.module(elsewhere.theta_hat + k / 10 * way) for k in range(11)]
    assert fitness(elsewhere, chosen).worth(TOLERANCE) == max(fitness(elsewhere, one).worth(TOLERANCE) for one in every)


def test_a_model_that_destroys_the_guard_is_not_returned(elsewhere):
    destroyed = moved(elsewhere, 30.0)
    watched, _ = watched_and_trained(elsewhere.tests.guard)
    assert accuracy(destroyed, watched) < 0.9
    assert accuracy(between(elsewhere, destroyed), watched) >= 1 - TOLERANCE


def test_careful_training_never_ends_worse_than_it_began(elsewhere):
    trained = careful(elsewhere, elsewhere.fit)
    base = elsewhere.classifier.module(elsewhere.theta_hat)
    assert clean_score(elsewhere, trained) >= clean_score(elsewhere, base)
    assert torch.equal(theta_of(base), elsewhere.theta_hat)
    again = careful(replace(elsewhere, generator=torch.Generator().manual_seed(0)), elsewhere.fit)
    assert torch.equal(theta_of(trained), theta_of(again))


def test_the_clean_score_weighs_failures_as_in_the_test_set(elsewhere):
    base = elsewhere.classifier.module(elsewhere.theta_hat)
    failures, others = (
        clean_score(replace(elsewhere, tests=replace(elsewhere.tests, error_rate=rate)), base) for rate in (1.0, 0.0)
    )
    mixed = clean_score(replace(elsewhere, tests=replace(elsewhere.tests, error_rate=0.25)), base)
    assert mixed == pytest.approx(0.25 * failures + 0.75 * others)
    assert failures < others


def test_the_average_is_the_mean_of_the_parameters(elsewhere):
    models = [moved(elsewhere, by) for by in (0.1, 0.3, -0.7)]
    mean = sum(theta_of(model) for model in models) / 3
    torch.testing.assert_close(theta_of(average(models)), mean, rtol=1e-10, atol=1e-12)


def test_app_cs_model_is_finetuned_as_in_the_paper(task):
    generator = torch.Generator().manual_seed(4)
    plain = Schedule().fit(
        task.classifier.module(task.theta_hat), task.fit, task.validation, generator, start="trained"
    )
    same = finetuned(replace(task, generator=torch.Generator().manual_seed(4)), task.fit, task.validation)
    assert torch.equal(theta_of(plain), theta_of(same))


class _Recorder:
    """A recipe that remembers what it was trained on."""

    def __init__(self):
        self.rows = []

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        self.rows.append(set(train.ids.tolist()))
        return model


@pytest.mark.parametrize("treatment", [Finetune(), Finetune(models=3), Combined()])
def test_what_is_monitored_is_never_trained_on(task, treatment):
    recipe = _Recorder()
    treatment.repaired(replace(task, training=recipe), Causes(tuple(task.fit.ids[:3].tolist())))
    watched, trainable = watched_and_trained(task.tests.guard)
    assert len(recipe.rows) == getattr(treatment, "models", 1)
    for rows in recipe.rows:
        assert rows.isdisjoint(watched.ids.tolist())
        assert rows.isdisjoint(task.fit.ids[:3].tolist())
        assert (set(trainable.ids.tolist()) <= rows) == isinstance(treatment, Combined)


def test_the_owners_recipe_is_monitored(task):
    assert replace(task, training=_Recorder()).monitored
    assert not task.monitored
