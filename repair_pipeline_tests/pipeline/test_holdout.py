"""The holdout law: nothing that is found, stopped, chosen or trained depends on the holdout's labels."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.files import read_parquet, read_tensors, write_parquet
from repair_pipeline.types import QuerySide, TestPartition
from repair_pipeline_tests.pipeline.conftest import case_at

SEARCHING = [step for step in STEPS if step.isolated]


def corrupt_the_holdouts_labels(case):
    """In every stored table that holds them, after the partition was made."""
    holdout = set(case.partition.holdout.ids)
    for path, column in (
        (case.dataset_path, "label"),
        (case.dataset_path, "clean_label"),
        (case.partition_path, "label"),
    ):
        table, notes = read_parquet(path)
        labels = np.array(table[column].to_pylist())
        of_holdout = np.isin(np.array(table["example_id"].to_pylist()), list(holdout))
        assert of_holdout.sum() == len(holdout)
        labels[of_holdout] = (labels[of_holdout] + 1 + np.arange(len(holdout)) % 9) % 10
        at = table.column_names.index(column)
        write_parquet(path, table.set_column(at, table.schema.field(column), pa.array(labels)), notes)


def searched(case, names=()):
    """What the influence and repaired steps (those named, or all) leave: causes, stopping and weights, made anew."""
    steps = [step for step in SEARCHING if not names or step.name in names]
    return found([path for step in steps for path in step.run(case, force=True)])


def found(paths):
    scores = {path.parent.name: read_parquet(path)[0] for path in paths if path.suffix == ".parquet"}
    weights = {path.name: read_tensors(path)[0] for path in paths if path.suffix == ".safetensors"}
    return scores, weights


def assert_same_bits(one, other):
    scores, weights = one
    other_scores, other_weights = other
    assert scores.keys() == other_scores.keys()
    assert weights.keys() == other_weights.keys()
    for method in scores:
        assert scores[method].equals(other_scores[method]), method
    for cell in weights:
        assert all(torch.equal(value, other_weights[cell][name]) for name, value in weights[cell].items()), cell


@pytest.fixture
def corrupted_case(case):
    corrupt_the_holdouts_labels(case)
    fresh = case_at(case.layout.home)
    assert (fresh.partition.holdout.labels != case.partition.holdout.labels).all()
    assert torch.equal(fresh.partition.query.labels, case.partition.query.labels)
    return fresh


def test_corrupting_the_holdouts_labels_changes_no_bit_of_causes_stopping_or_weights(finished_home, corrupted_case):
    honest = case_at(finished_home)
    scores, weights = found([file.path for step in SEARCHING for file in step.files(honest)])
    assert (len(scores), len(weights)) == (5, 7)
    assert_same_bits((scores, weights), searched(corrupted_case))


LEAKS = {
    "causes read the holdout": ("influence_ewc", lambda parts: replace(honest(parts), query=parts.holdout)),
    "stopping reads it": ("influence_ewc_paper", lambda parts: replace(honest(parts), query_tuning=parts.holdout)),
}


def honest(parts):
    return QuerySide(parts.query, parts.query_tuning, parts.guard)


@pytest.mark.parametrize(("step", "leak"), LEAKS.values(), ids=LEAKS)
def test_a_planted_leak_breaks_the_law(finished_home, corrupted_case, tmp_path, monkeypatch, step, leak):
    monkeypatch.setattr(TestPartition, "query_side", property(leak))
    other = case_at(shutil.copytree(finished_home, tmp_path / "other"))
    with pytest.raises(AssertionError, match="method=ewc"):
        assert_same_bits(searched(other, [step]), searched(corrupted_case, [step]))
