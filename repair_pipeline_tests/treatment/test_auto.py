"""Choosing a repair on query_tuning and guard."""

from dataclasses import replace

import pytest
import torch

from repair_pipeline.influence.baselines import Oracle, Random
from repair_pipeline.training.fit import accuracy, predictions
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.fitness import Fitness, fitness
from repair_pipeline_tests.problems import examples

FRACTIONS = (0.05, 0.11)
"""Fractions of the 216 rows that select 11 and all 24 of the planted rows."""


@pytest.fixture
def rankings(task):
    return {"oracle": Oracle().scores(task), "random": Random().scores(task)}


def test_fitness_is_counted_on_query_tuning_and_guard(task):
    measured = fitness(task, task.classifier.module(task.theta_hat))
    right = task.classifier(task.theta_hat, task.tests.query_tuning).exp()
    assert measured.tuning_accuracy == 0
    assert measured.tuning_probability == pytest.approx(right.mean().item())
    assert measured.guard_accuracy == 1


def test_a_lost_guard_is_worth_less_than_any_repair():
    held, lost, lost_more = Fitness(0, 0.1, 0.99), Fitness(1, 1, 0.97), Fitness(1, 1, 0.5)
    assert held.worth(0.02) > 0 > lost.worth(0.02) > lost_more.worth(0.02)
    assert Fitness(0.5, 0.4, 0.99).worth(0.02) == pytest.approx(0.45)


def test_the_causes_that_repair_are_chosen_and_every_candidate_is_kept(task, rankings):
    choice = Auto(methods=("random", "oracle"), fractions=FRACTIONS).choose(task, rankings, settled=None)
    tried = [(one.influence_method, one.treatment, len(one.causes)) for one in choice.tried]
    assert tried[:5] == [(None, "finetune", 0), *((m, "finetune", k) for m in ("random", "oracle") for k in (11, 24))]
    assert (choice.kept.influence_method, choice.kept.causes.as_set) == ("oracle", task.corrupted)
    assert accuracy(choice.kept.model, task.tests.query) == 1
    assert choice.kept.fitness == fitness(task, choice.kept.model)
    # It repairs all six tuning failures and the control none: p = 0.5**6, times the number of candidates.
    assert choice.p_value == pytest.approx((len(choice.tried) - 1) * 0.5**6)


def test_where_nothing_beats_the_control_nothing_is_changed(task, rankings):
    # The tuning rows are labelled as the model predicts, so nothing is wrong and no removal can help.
    tuning = task.tests.query_tuning
    healthy = replace(tuning, labels=predictions(task.classifier.module(task.theta_hat), tuning))
    content = replace(task, tests=replace(task.tests, query_tuning=healthy))
    choice = Auto(methods=("random",), fractions=FRACTIONS).choose(content, rankings, settled=None)
    assert choice.kept is None
    assert choice.p_value == 1


def test_no_repair_is_kept_that_loses_more_of_the_guard_than_is_tolerated(task, rankings):
    # Guard cases that no repaired model gets right: the failures themselves, under their wrong labels.
    wrong = examples(task.tests.query.inputs, torch.ones(len(task.tests.query)).long(), "guard")
    strict = replace(task, tests=replace(task.tests, guard=wrong))
    choice = Auto(methods=("oracle",), fractions=FRACTIONS).choose(strict, rankings, settled=None)
    assert choice.kept is None or choice.kept.fitness.guard_accuracy >= 0.985


def test_the_wider_pool_goes_on_from_what_the_narrower_one_kept(task, rankings):
    narrow = Auto(methods=("oracle",), fractions=FRACTIONS).choose(task, rankings, settled=None)
    wide = Auto(pool="all", methods=("oracle",)).choose(task, rankings, settled=narrow.kept)
    assert [one.treatment for one in wide.tried] == [
        "finetune",
        narrow.kept.treatment,
        "combined",
        "learn_query",
        "relabel",
    ]
    assert all(one.causes == narrow.kept.causes for one in wide.tried[1:])
    assert wide.kept.fitness.worth(0.015) >= narrow.kept.fitness.worth(0.015)


def test_what_is_trained_on_the_failures_is_in_the_wider_pool_only(task, rankings):
    choice = Auto(methods=("oracle",), fractions=(0.11,)).choose(task, rankings, settled=None)
    assert {one.treatment for one in choice.tried} == {"finetune", "ewc_deletion"}
