"""The repair task."""

import dataclasses

from repair_pipeline.problem.task import RepairTask
from repair_pipeline.types import QuerySide


def test_gamma_is_the_posteriors_own_unless_given(task):
    assert task.gamma(None) == 2 / len(task.fit)
    assert task.gamma(0.3) == 0.3


def test_the_holdout_has_no_place_in_a_task():
    names = {field.name for kind in (RepairTask, QuerySide) for field in dataclasses.fields(kind)}
    assert not names & {"holdout", "remaining", "partition", "test"}
