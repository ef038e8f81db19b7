"""The null of an influence, and causes by a false-discovery rate."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Loss
from repair_pipeline.influence.causes import CausesRule, p_values
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.types import InfluenceScores

DIFFERENCE = EWCInfluence(reading="difference")


def test_the_null_consists_of_correct_cases_that_are_not_learnt(task):
    half = len(task.tests.guard) // 2
    cases, rest = task.tests.guard[:half], task.tests.guard[half:]
    scores = DIFFERENCE.calibrated(task)
    again = replace(task, generator=torch.Generator().manual_seed(0), tests=replace(task.tests, guard=rest))
    assert torch.equal(scores.values, DIFFERENCE.scores(again).values)
    again = replace(again, generator=torch.Generator().manual_seed(0))
    before, after = DIFFERENCE.learnt(again)
    drop = task.classifier(before.mean, cases) - task.classifier(after.mean, cases)
    of_class = torch.isin(cases.labels, task.tests.query.labels)
    assert 0 < int(of_class.sum()) < half
    torch.testing.assert_close(scores.null, drop[of_class], rtol=1e-10, atol=1e-12)


def test_the_planted_rows_stand_out_from_the_null(task):
    scores = DIFFERENCE.calibrated(task)
    assert scores.values[task.fit.having(task.corrupted)].min() > scores.null.max()
    # Its 17 cases cannot tell chances below 1 in 18, so the rate cannot be small.
    causes = CausesRule(fdr=0.5).causes(scores, planted=0)
    assert task.corrupted <= causes.as_set


def test_p_values_are_counted_and_never_zero():
    generator = np.random.default_rng(0)
    values, null = generator.normal(size=40), generator.normal(size=40).round(1)
    values[:3] = null[:3]  # ties count
    scores = InfluenceScores(np.arange(40).astype(str), torch.tensor(values), null=torch.tensor(null))
    assert p_values(scores).tolist() == [(1 + sum(other >= value for other in null)) / 41 for value in values]


def test_under_the_null_the_rule_selects_almost_no_causes():
    generator = np.random.default_rng(0)
    counts = []
    for _ in range(50):
        values, null = (torch.tensor(generator.normal(size=300)) for _ in range(2))
        counts.append(
            len(CausesRule(fdr=0.1).causes(InfluenceScores(np.arange(300).astype(str), values, null=null), 0))
        )
    assert sum(count > 0 for count in counts) / 50 <= 0.2


def test_without_a_null_there_is_no_false_discovery_rate(task):
    with pytest.raises(InputError, match="null"):
        CausesRule(fdr=0.1).causes(Loss().scores(task), planted=0)
