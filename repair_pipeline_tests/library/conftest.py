"""A problem, its scores and a repair, shared by the tests of the library."""

import pytest

import repair_pipeline as rp
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples
from repair_pipeline_tests.library.parts import pair, problem_of


@pytest.fixture(scope="package")
def trained(_trained_task):
    return _trained_task


@pytest.fixture(scope="package")
def model(trained):
    return trained.classifier.module(trained.theta_hat)


@pytest.fixture(scope="package")
def rows(trained, model):
    """The rows of a problem, and the unseen rows for a verdict."""
    query, guard = trained.tests.query, trained.tests.guard
    # The task's failures are copies of training rows, which must not be held out, so shift them a little.
    shifted = Examples(query.ids, query.inputs + 1e-3, query.labels)
    wrong, right = (
        part[(predictions(model, part) == part.labels) == is_right]
        for part, is_right in ((shifted, False), (guard, True))
    )
    assert len(wrong) >= 20
    return {
        "train": pair(trained.fit),
        "failures": pair(wrong[::2]),
        "guard": pair(right[::2]),
        "holdout": pair(wrong[1::2]),
        "remaining": pair(right[1::2]),
        "validation": pair(trained.validation),
    }


@pytest.fixture
def given(rows):
    return dict(rows)


@pytest.fixture(scope="package")
def problem(model, rows):
    return problem_of(model, rows)


@pytest.fixture(scope="package")
def scores(problem):
    return rp.attribute(problem, "ewc")


@pytest.fixture(scope="package")
def repair(problem, scores):
    return rp.repair(problem, scores.top(24), "finetune")
