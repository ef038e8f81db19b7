"""Laws that every influence method and every treatment obeys. A new one is one row in ``cases.py``."""

import logging
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes
from repair_pipeline_tests.cases import METHOD_ROWS, TREATMENT_ROWS, MethodRow, TreatmentRow


def law_row(row: MethodRow):
    """The row, skipped where its package is not installed."""
    absent = row.package is not None and find_spec(row.package) is None
    reason = f"{row.package} is not installed: pip install 'repair_pipeline[peers]'"
    return pytest.param(row, id=str(row), marks=[pytest.mark.skipif(absent, reason=reason)])


every_method = pytest.mark.parametrize("row", [law_row(row) for row in METHOD_ROWS])
every_treatment = pytest.mark.parametrize("row", TREATMENT_ROWS, ids=str)


def planted(task):
    return Causes(tuple(sorted(task.corrupted)))


def weights(model):
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def at_the_start(task):
    """The same task with a random stream of its own, so that whoever draws from it moves no other's."""
    return replace(task, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def scores(task, row, kept):
    """The row's scores on the task as it is, made once for all laws."""
    if row not in kept:
        kept[row] = row.make().scores(at_the_start(task))
    return kept[row]


@pytest.fixture
def repaired(task, row, kept):
    """The row's model without the planted rows, made once for all laws."""
    if row not in kept:
        kept[row] = row.make().repaired(at_the_start(task), planted(task))
    return kept[row]


def test_every_method_and_treatment_has_a_row():
    assert {row.name for row in METHOD_ROWS} == set(METHODS)
    # What chooses among treatments has laws of its own.
    treats = {name for name, recipe in TREATMENTS.items() if recipe.removes != ("chosen",)}
    assert {row.name for row in TREATMENT_ROWS} == treats


# Influence.


@every_method
def test_a_method_gives_every_training_row_one_finite_score(task, row: MethodRow, scores):
    assert isinstance(row.make(), InfluenceMethod)
    assert scores.ids.tolist() == task.fit.ids.tolist()
    assert scores.values.isfinite().all()
    assert len(scores.values.unique()) > 1


@every_method
def test_scores_say_their_unit(row: MethodRow, scores):
    assert scores.unit == row.unit


@every_method
def test_mislabelled_copies_of_the_failures_rank_first(task, row: MethodRow, scores):
    first = frozenset(scores.ids[scores.order[: len(task.corrupted)]].tolist())
    # The network has learnt its wrong labels, so whoever reads no failures is blind to them: that is the point.
    assert (first == task.corrupted) is row.finds_learnt_noise
    if row.finds_learnt_noise:
        assert (scores.values[task.fit.having(task.corrupted)] > (scores.neutral or 0)).all()


@every_method
def test_the_same_stream_gives_the_same_scores_and_leaves_all_else_as_it_is(task, row: MethodRow, scores, caplog):
    caplog.set_level(logging.INFO)
    theta, fisher, log_lik = (value.clone() for value in (task.theta_hat, task.fisher, task.log_lik_hat))
    assert torch.equal(row.make().scores(task).values, scores.values)
    assert torch.equal(task.theta_hat, theta)
    assert torch.equal(task.fisher, fisher)
    assert torch.equal(task.log_lik_hat, log_lik)
    assert logging.root.level == logging.INFO


@every_method
def test_no_method_but_the_oracle_reads_the_truth(task, row: MethodRow, scores):
    flipped = replace(task, truth=frozenset(task.fit.ids.tolist()) - task.corrupted)
    assert torch.equal(row.make().scores(flipped).values, scores.values) is not row.reads_truth
    assert row.reads_truth == (METHODS[row.name].role == "reference")


@every_method
def test_only_methods_that_need_failures_read_them(task, row: MethodRow, scores):
    healthy = replace(task, tests=replace(task.tests, query=task.tests.guard))
    assert torch.equal(row.make().scores(healthy).values, scores.values) is not row.reads_failures


@every_method
def test_permuting_the_training_rows_permutes_the_scores(task, row: MethodRow, scores):
    order = torch.randperm(len(task.fit), generator=torch.Generator().manual_seed(7))
    permuted = row.make().scores(replace(task, fit=task.fit[order], log_lik_hat=task.log_lik_hat[order])).values
    if row.follows_rows:
        spread = row.tolerance * scores.values.abs().max().item()
        torch.testing.assert_close(permuted, scores.values[order], rtol=row.tolerance, atol=spread)
    else:
        assert not torch.equal(permuted, scores.values[order])


# Treatment.


@every_treatment
def test_a_treatment_gives_a_model_in_eval_mode(row: TreatmentRow, repaired):
    assert isinstance(row.make(), Treatment)
    assert not repaired.training


@every_treatment
def test_the_same_stream_gives_the_same_weights_and_leaves_the_base_model_as_it_is(task, row: TreatmentRow, repaired):
    theta = task.theta_hat.clone()
    again = row.make().repaired(task, planted(task))
    assert torch.equal(weights(again), weights(repaired))
    assert not (row.moves and torch.equal(weights(again), theta))
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1)
    assert torch.equal(task.theta_hat, theta)
    assert torch.equal(weights(task.classifier.module(theta)), theta)


@every_treatment
def test_no_treatment_reads_the_truth(task, row: TreatmentRow, repaired):
    blind = row.make().repaired(replace(task, truth=None), planted(task))
    assert torch.equal(weights(blind), weights(repaired))


@every_treatment
def test_removing_the_mislabelled_rows_repairs_and_breaks_nothing(task, row: TreatmentRow, repaired):
    assert accuracy(task.classifier.module(task.theta_hat), task.tests.query) == 0
    assert accuracy(repaired, task.tests.guard) >= 0.98
    if row.repairs:
        assert accuracy(repaired, task.tests.query) == 1


@pytest.mark.parametrize("row", [row for row in TREATMENT_ROWS if not row.reads_removed], ids=str)
def test_what_is_removed_is_not_read(task, row: TreatmentRow, repaired):
    removed = task.fit.having(task.corrupted)
    labels = torch.where(removed, (task.fit.labels + 1) % 3, task.fit.labels)
    relabelled = replace(task, fit=replace(task.fit, labels=labels))
    assert torch.equal(weights(row.make().repaired(relabelled, planted(task))), weights(repaired))
