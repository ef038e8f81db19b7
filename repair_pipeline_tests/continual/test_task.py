"""What a method is given."""

import dataclasses

import torch

from repair_pipeline.continual.task import RepairTask
from repair_pipeline.types import QuerySide


def test_gamma_is_the_posteriors_own_unless_given(task):
    assert task.gamma(None) == 2 / len(task.fit)
    assert task.gamma(0.3) == 0.3


def test_draw_takes_distinct_rows_and_all_where_there_are_no_more(task):
    drawn = task.draw(task.fit, 10)
    assert len(set(drawn.ids)) == 10
    assert set(drawn.ids) <= set(task.fit.ids)
    assert set(task.draw(task.fit, 10_000).ids) == set(task.fit.ids)


def test_a_drawn_row_keeps_its_input_and_label(task):
    drawn, at = task.draw(task.fit, 10), {example_id: n for n, example_id in enumerate(task.fit.ids)}
    rows = task.fit[torch.tensor([at[example_id] for example_id in drawn.ids])]
    assert torch.equal(drawn.inputs, rows.inputs)
    assert torch.equal(drawn.labels, rows.labels)


def test_the_holdout_has_no_place_in_a_task():
    names = {field.name for kind in (RepairTask, QuerySide) for field in dataclasses.fields(kind)}
    assert not names & {"holdout", "remaining", "partition", "test"}
