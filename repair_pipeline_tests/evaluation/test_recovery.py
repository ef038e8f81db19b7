"""Recovery, against counting."""

import pytest
import torch
from torch import Tensor, nn

from repair_pipeline.evaluation.recovery import recovery
from repair_pipeline_tests.evaluation.test_partition import split


class Reads(nn.Module):
    """Predicts the class that is written in the input."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x[:, 0].long(), 3).double() + self.nothing


def test_the_base_model_is_wrong_on_failures_and_right_on_the_rest():
    outcome = recovery(Reads(), split(right=60, wrong=40))
    assert (outcome.query_accuracy, outcome.holdout_accuracy, outcome.remaining_accuracy) == (0, 0, 1)
    assert outcome.unseen_accuracy == pytest.approx(0.6)


class Opposite(Reads):
    """Predicts one class lower: failures, which Reads puts one class too high, become right, and the rest wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, [1, 2, 0]]


def test_accuracies_are_shares_of_their_own_rows_and_unseen_is_at_the_natural_mix():
    outcome = recovery(Opposite(), split(right=60, wrong=40, query_fraction=0.5))
    assert (outcome.query_accuracy, outcome.holdout_accuracy, outcome.remaining_accuracy) == (1, 1, 0)
    assert outcome.unseen_accuracy == pytest.approx(0.4)
