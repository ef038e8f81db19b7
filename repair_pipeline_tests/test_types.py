"""The values that flow from step to step."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from repair_pipeline.types import Examples, InfluenceScores, TrainingRows
from repair_pipeline_tests.problems import blobs

ROWS = blobs(9, seed=1)


def scores(ids, values):
    return InfluenceScores(np.array(ids), torch.tensor(values, dtype=torch.float64))


def test_a_subset_keeps_ids_inputs_and_labels_together():
    at = torch.tensor([4, 0, 7])
    for subset in (ROWS[at], Examples.concat([ROWS[4:5], ROWS[0:1], ROWS[7:8]])):
        assert subset.ids.tolist() == ROWS.ids[[4, 0, 7]].tolist()
        assert torch.equal(subset.inputs, ROWS.inputs[at])
        assert torch.equal(subset.labels, ROWS.labels[at])


def test_a_mask_keeps_the_rows_where_it_is_true():
    mask = ROWS.labels == 1
    assert ROWS[mask].ids.tolist() == [example_id for example_id, kept in zip(ROWS.ids, mask, strict=True) if kept]


@given(st.integers(1, 12))
def test_batches_cover_every_row_once_in_order(size):
    batches = list(ROWS.batches(size))
    assert Examples.concat(batches).ids.tolist() == ROWS.ids.tolist()
    assert all(len(batch) == size for batch in batches[:-1])


def test_without_is_the_complement_of_having():
    some = frozenset(ROWS.ids[[1, 5]].tolist()) | {"unknown"}
    assert ROWS.having(some).tolist() == [at in (1, 5) for at in range(9)]
    assert set(ROWS.without(some).ids) == set(ROWS.ids) - some
    assert len(ROWS.without(frozenset())) == 9


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 ids, 4 inputs and 4 labels"):
        Examples(ROWS.ids[:3], ROWS.inputs[:4], ROWS.labels[:4])


def test_shapes_and_kinds_are_checked_under_test():
    with pytest.raises(TypeCheckError, match="corrupted"):
        TrainingRows(ROWS, ROWS.labels, ROWS.labels)


def test_scores_are_ordered_from_most_to_least_harmful():
    ranked = scores(["a", "b", "c"], [-1.0, 3.0, 0.5])
    assert ranked.ids[ranked.order].tolist() == ["b", "c", "a"]


@given(st.permutations(["a", "b", "c", "d"]))
def test_ties_are_broken_by_id_whatever_the_order_of_the_rows(ids):
    ranked = scores(ids, [0.0 if example_id != "c" else -0.0 for example_id in ids])
    assert ranked.ids[ranked.order].tolist() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_raises_and_names_its_row(bad):
    with pytest.raises(FloatingPointError, match=r"1 influence scores are not finite \(the first: b\)"):
        scores(["a", "b"], [0.0, bad])


class Watched:
    """Inputs that tell which rows were read."""

    def __init__(self, inputs):
        self.inputs, self.shape, self.read = inputs, inputs.shape, []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, rows):
        self.read += rows.tolist()
        return self.inputs[rows]


def test_a_subset_of_a_subset_reads_no_row_but_its_own():
    inputs = torch.arange(20.0).reshape(10, 2)
    source = Watched(inputs)
    every = Examples(np.array([f"z{at}" for at in range(10)]), source, torch.arange(10))
    odd = every[torch.arange(10) % 2 == 1]
    joined = Examples.concat([odd[2:], every[torch.tensor([0])], odd.without(frozenset({"z1", "z5"}))])
    assert (len(every), every.shape) == (10, (2,))
    assert joined.to(torch.device("cpu")).labels.tolist() == [5, 7, 9, 0, 3, 7, 9]
    assert source.read == []
    read = [batch.inputs for batch in joined.batches(3)]
    assert torch.equal(torch.cat(read), inputs[joined.labels])
    assert source.read == joined.labels.tolist()
    held = joined.in_memory()
    assert torch.equal(held.inputs, inputs[joined.labels])
    source.read.clear()
    assert torch.equal(held[torch.tensor([1])].inputs, inputs[7:8])
    assert source.read == []
