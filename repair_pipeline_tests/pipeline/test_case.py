"""A case bound to its files."""

import json
from typing import get_args

import pytest
import torch

from repair_pipeline.cases.presets import preset
from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.errors import InputError
from repair_pipeline.influence.baselines import Oracle
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import load_scores
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples, Role, silent
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import named


def test_cases_that_differ_downstream_of_the_failures_share_what_lies_upstream(case):
    other = case_at(case.layout.home, with_settings(TINY, ["query_fraction=0.3"]))
    made = [path for step in STEPS[:4] for path in step.run(other)]
    assert named(other, made) == {"examples/examples.parquet"}
    for name in ("holdout", "remaining", "guard"):
        assert other.partition.parts()[name].ids.tolist() == case.partition.parts()[name].ids.tolist()
    assert set(other.partition.query.ids) < {*case.partition.query.ids, *case.partition.query_tuning.ids}


@pytest.mark.parametrize("guard", ["none", "joint"])
def test_remaining_is_the_same_rows_whatever_the_guard(case, guard):
    other = case_at(case.layout.home, with_settings(TINY, [f"influence.ewc.guard={guard}", "influence.loss={}"]))
    for step in STEPS[:4]:
        step.run(other)
    assert other.partition.remaining.ids.tolist() == case.partition.remaining.ids.tolist()
    assert other.partition.guard.ids.tolist() == case.partition.guard.ids.tolist()


def test_a_task_holds_the_query_side_and_no_other_test_row(case):
    task = case.task("influence/ewc", silent)
    parts = [part for part in vars(task.tests).values() if isinstance(part, Examples)]
    readable = {example_id for part in parts for example_id in part.ids}
    parts = case.partition.parts()
    assert readable == {*parts["query"].ids, *parts["query_tuning"].ids, *parts["guard"].ids}
    assert not readable & {*parts["holdout"].ids, *parts["remaining"].ids, *parts["unused_query"].ids}


def test_a_task_is_the_base_model_with_its_fisher_and_likelihoods(case):
    task = case.task("influence/ewc", silent)
    assert torch.equal(task.classifier(task.theta_hat, task.fit).double(), task.log_lik_hat)
    torch.testing.assert_close(
        task.fisher, task.classifier.gradients(task.theta_hat, task.fit).square().mean(0), rtol=1e-4, atol=1e-9
    )
    assert len(task.fit) == len(task.log_lik_hat) == len(case.data.fit.examples)


@pytest.mark.parametrize("role", get_args(Role))
def test_the_truth_is_within_reach_of_a_reference_alone(case, role):
    task = case.task("influence/any", silent, role)
    if role == "reference":
        assert task.corrupted == case.data.fit.corrupted_ids | case.data.validation.corrupted_ids
    else:
        with pytest.raises(PermissionError, match="only methods whose role in the catalogue is 'reference'"):
            Oracle().scores(task)


def test_every_step_draws_from_a_stream_of_its_own(case):
    drawn = {
        step: tuple(torch.rand(3, generator=case.task(step, silent).generator).tolist())
        for step in ("influence/ewc", "influence/random", "treatment/finetune", "influence/ewc")
    }
    assert len(set(drawn.values())) == 3
    assert drawn["influence/ewc"] == tuple(
        torch.rand(3, generator=case.task("influence/ewc", silent).generator).tolist()
    )


def test_a_method_draws_from_the_stream_that_bears_its_name(case):
    rows = case.data.fit.examples
    drawn = torch.rand(len(rows), generator=torch_stream(TINY.seed, "influence/random"), dtype=torch.float64)
    assert torch.equal(load_scores(case.influence_path("random"), rows).values, drawn)


def test_failures_are_failures_of_the_stored_model(case):
    model, parts = case.model(case.base_model_path), case.partition.parts()
    for name, part in parts.items():
        if name in ("unused_query", "other_failures"):
            assert len(part) == 0
            continue
        right = predictions(model, part) == part.labels
        assert right.all() if name in ("guard", "remaining") else not right.any()


def test_registering_again_keeps_when_it_was_first_registered(case):
    first = case.record
    case.register("running")
    assert case.record == {**first, "status": "running"}


def test_a_registered_case_is_found_by_its_id_and_a_preset_by_its_name(case, tmp_path):
    assert stored_spec(case.layout, case.id) == TINY
    assert json.loads(case.record["spec"]) == TINY.resolved
    assert stored_spec(Layout(tmp_path / "empty"), "digits-label_noise-s3") == preset("digits-label_noise-s3")
    with pytest.raises(InputError, match="there is no case 'nowhere'"):
        stored_spec(case.layout, "nowhere")
