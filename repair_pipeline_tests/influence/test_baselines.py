"""The baselines, against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.influence.aum import AUM
from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random
from repair_pipeline.influence.out_of_bag import OutOfBag
from repair_pipeline.models.copying import copied
from repair_pipeline_tests.problems import CORNERS, examples


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


class Follows:
    """A training whose model is, after each epoch, one of these."""

    def __init__(self, models):
        self.models = models

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=lambda done, total: None):
        model = copied(model)
        for epoch, now in enumerate(self.models, start=1):
            model.load_state_dict(now.state_dict())
            model(train.inputs[:1])
            progress(epoch, len(self.models))
        return model


def test_aum_is_the_mean_margin_over_the_epochs(task):
    models = [task.untrained(torch.Generator().manual_seed(seed)) for seed in range(3)]
    margins = []
    for model in models:
        logits = model(task.fit.inputs).detach()
        given = torch.nn.functional.one_hot(task.fit.labels, 3).bool()
        margins.append(logits.masked_fill(given, -torch.inf).max(dim=1).values - logits[given])
    scores = AUM().scores(replace(task, training=Follows(models)))
    torch.testing.assert_close(scores.values, torch.stack(margins).mean(dim=0), rtol=1e-12, atol=0)
    assert scores.notes == {"checks": 3}


def test_aum_leaves_the_training_as_it_is(task):
    def trained(progress):
        generator = torch.Generator().manual_seed(0)
        model = task.untrained(generator)
        return task.training.fit(model, task.fit, task.validation, generator, start="new", progress=progress)

    kept = []

    class Kept:
        def fit(self, *arguments, **named):
            kept.append(task.training.fit(*arguments, **named))
            return kept[-1]

    AUM().scores(replace(task, training=Kept(), generator=torch.Generator().manual_seed(0)))
    alone = trained(lambda done, total: None)
    for mine, its in zip(alone.parameters(), kept[0].parameters(), strict=True):
        assert torch.equal(mine, its)


def test_aum_of_a_training_that_does_not_say_how_far_it_is_raises(task):
    with pytest.raises(InputError, match="never calls progress"):
        AUM().scores(replace(task, training=Follows([])))


class Remembers:
    """A training that notes which rows it was given, and leaves the model as it is."""

    def __init__(self):
        self.bags = []

    def fit(self, model, train, validation, generator, **named):
        self.bags.append(frozenset(train.ids.tolist()))
        return copied(model)


def test_each_row_is_scored_by_the_models_that_did_not_see_it(task):
    training, models = Remembers(), []

    def untrained(generator):
        models.append(task.untrained(generator))
        return models[-1]

    scores = OutOfBag(rounds=2).scores(replace(task, training=training, untrained=untrained))
    assert len(models) == len(training.bags) == 4
    for at, example_id in enumerate(task.fit.ids.tolist()):
        out = [model for model, bag in zip(models, training.bags, strict=True) if example_id not in bag]
        assert len(out) == 2
        p = [model(task.fit.inputs[at : at + 1]).softmax(dim=1)[0, task.fit.labels[at]].item() for model in out]
        assert scores.values[at].item() == pytest.approx(-np.log(np.mean(p)), rel=1e-9)


@pytest.mark.parametrize("method", [AUM, OutOfBag])
def test_flipped_labels_of_a_separable_problem_rank_first(task, method):
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(150) % 3
    inputs = CORNERS[labels] + 0.3 * torch.randn(150, 2, dtype=torch.float64, generator=generator)
    flipped = torch.where(torch.arange(150) < 12, (labels + 1) % 3, labels)
    scores = method().scores(replace(task, fit=examples(inputs, flipped)))
    assert set(scores.order[:12].tolist()) == set(range(12))
