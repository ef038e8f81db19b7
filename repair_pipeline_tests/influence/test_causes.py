"""From scores to causes."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from repair_pipeline.errors import InputError
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.types import InfluenceScores


def scores(*values):
    ids = np.array([f"z{at}" for at in range(len(values))])
    return InfluenceScores(ids, torch.tensor(values, dtype=torch.float64))


SCORES = scores(0.5, -1.0, 2.0, 0.0, 0.5, -3.0, 1.0, -0.1, 0.0, 0.2)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"top": 1}, ("z2",)),
        ({"top": 4}, ("z2", "z6", "z0", "z4")),
        ({"top": "planted"}, ("z2", "z6", "z0")),
        ({"fraction": 0.2}, ("z2", "z6")),
        ({"fraction": 0.01}, ()),
        ({"positive": True}, ("z2", "z6", "z0", "z4", "z9")),
    ],
    ids=str,
)
def test_causes_are_the_most_harmful_first(rule, expected):
    assert CausesRule(**rule).causes(SCORES, planted=3).ids == expected


def test_a_score_of_zero_is_no_cause():
    assert CausesRule(positive=True).causes(scores(0.0, -1.0, -0.0), planted=0).ids == ()


def test_ties_are_broken_by_id():
    tied = InfluenceScores(np.array(["c", "a", "b", "d"]), torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64))
    assert CausesRule(top=3).causes(tied, planted=0).ids == ("b", "a", "c")


@pytest.mark.parametrize(("rule", "planted"), [({"top": 10}, 3), ({"top": 11}, 3), ({"top": "planted"}, 0)], ids=str)
def test_taking_all_rows_or_none_is_refused(rule, planted):
    with pytest.raises(InputError, match=r"causes\.top is"):
        CausesRule(**rule).causes(SCORES, planted)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"top": 3, "fraction": 0.1},
        {"top": 0},
        {"top": "most"},
        {"fraction": 0.0},
        {"fraction": 1.0},
        {"positive": False},
        {"negative": True},
    ],
    ids=str,
)
def test_a_rule_is_exactly_one_of_its_kinds(rule):
    with pytest.raises(ValidationError):
        CausesRule(**rule)
