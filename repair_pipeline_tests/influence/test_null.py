"""The null of an influence, and causes by a false-discovery rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.causes import CausesRule, p_values
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.null import null_influence
from repair_pipeline.types import InfluenceScores


class Watching:
    """An influence method that keeps the task it was given."""

    def scores(self, task):
        self.task = task
        return Loss().scores(task)


def test_the_null_asks_about_right_cases_of_the_failures_classes_and_guards_with_the_others(task):
    method, wanted = Watching(), task.tests.query[:5]
    null_influence(method, replace(task, tests=replace(task.tests, query=wanted)))
    asked = method.task.tests
    assert asked.query.labels.tolist() == wanted.labels.tolist()
    assert set(asked.query.ids) | set(asked.guard.ids) == set(task.tests.guard.ids)
    assert not set(asked.query.ids) & set(asked.guard.ids)


def test_the_planted_rows_stand_out_from_the_null(task):
    scores = EWCInfluence(reading="difference").scores(task)
    null = null_influence(EWCInfluence(reading="difference"), replace(task, generator=torch.Generator().manual_seed(1)))
    planted = task.fit.having(task.corrupted)
    assert scores.values[planted].min() > null.max()
    found = CausesRule(fdr=0.05).causes(replace(scores, null=null), planted=0)
    assert task.corrupted <= found.as_set


def test_p_values_are_counted_and_never_zero():
    generator = np.random.default_rng(0)
    values, null = generator.normal(size=40), generator.normal(size=40).round(1)
    values[:3] = null[:3]  # ties count
    scores = InfluenceScores(np.arange(40).astype(str), torch.tensor(values), null=torch.tensor(null))
    assert p_values(scores).tolist() == [(1 + sum(other >= value for other in null)) / 41 for value in values]


def test_under_the_null_the_rule_finds_next_to_nothing():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(50):
        values, null = (torch.tensor(generator.normal(size=300)) for _ in range(2))
        found.append(len(CausesRule(fdr=0.1).causes(InfluenceScores(np.arange(300).astype(str), values, null=null), 0)))
    assert sum(count > 0 for count in found) / 50 <= 0.2


def test_without_a_null_there_is_no_false_discovery_rate(task):
    with pytest.raises(InputError, match="null"):
        CausesRule(fdr=0.1).causes(Loss().scores(task), planted=0)
