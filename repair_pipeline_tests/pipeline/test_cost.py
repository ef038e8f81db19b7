"""What a case is expected to compute, and how long that takes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.models.user_model import freeze
from repair_pipeline.pipeline import cost
from repair_pipeline.pipeline.cost import Epochs, Speed, expected_seconds, measured
from repair_pipeline.problem.cost import FINETUNING, TRAINING, Cost
from repair_pipeline.problem.cross_fit import FOLDS
from repair_pipeline.training.fit import Schedule
from repair_pipeline.training.function import UserTraining
from repair_pipeline.training.recipe import UserRecipe
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.test_user_case import spec
from repair_pipeline_tests.wards import write_tables

NOTHING = {"loss", "random", "oracle", "base"}
"""They read what is stored."""


@pytest.mark.parametrize("catalogue", [METHODS, TREATMENTS], ids=["influence", "treatment"])
def test_every_entry_that_computes_has_a_cost(catalogue):
    assert {name for name, entry in catalogue.items() if entry.cost == Cost()} == NOTHING & set(catalogue)


def last_total(task, run):
    seen = []
    run(replace(task, progress=lambda done, total: seen.append(total)))
    return seen[-1]


@pytest.mark.parametrize("name", ["ewc", "finetune_loss", "clean_reference", "linear_gd", "self_influence"])
def test_a_method_computes_what_its_entry_says(task, name):
    said = METHODS[name].cost
    due = said.steps or said.products or said.gradients * len(task.fit)
    assert last_total(task, lambda task: METHODS[name]().scores(task)) == due


@pytest.mark.parametrize("name", ["ewc_deletion", "newton", "learn_query", "learn_guard"])
def test_a_treatment_computes_what_its_entry_says(task, name):
    said, causes = TREATMENTS[name].cost, Causes(tuple(task.fit.ids[:5].tolist()))
    made = TREATMENTS[name].treatment()
    assert last_total(task, lambda task: made.repaired(task, causes)) == (said.steps or said.products)


def test_the_seconds_of_a_cost_are_its_passes_at_the_speed_of_each():
    speed = Speed(read=0, epoch=2, step=3, forward=5, gradient=7, product=11)
    each = {"epochs": 20, "trainings": 20 * 40, "steps": 3 * 128, "checks": 5 * 4, "forward": 50, "gradients": 70}
    for field, due in {**each, "products": 110}.items():
        assert speed.seconds(Cost(**{field: 1}), rows=10, checked=4, epochs=Epochs(FINETUNING, 40)) == due
    assert speed.seconds(Cost(epochs=1), rows=10, checked=4, epochs=Epochs(3 * FINETUNING, 40)) == 60


def test_epochs_are_those_of_the_owners_recipe_or_else_assumed():
    assert Epochs.of(UserRecipe(epochs=7)) == Epochs(7, 7)
    assert Epochs.of(Schedule(max_epochs=30)) == Epochs(FINETUNING, 30)
    assert Epochs.of(Schedule(max_epochs=10_000)) == Epochs(FINETUNING, TRAINING)
    assert Epochs.of(UserTraining("her:train")) == Epochs(FINETUNING, TRAINING)


def expected(tmp_path, monkeypatch, **fields):
    write_tables(tmp_path)
    case = case_at(tmp_path / "home", spec(tmp_path, **fields))
    ones = Speed(read=0, epoch=1, step=1, forward=0, gradient=1, product=1)
    monkeypatch.setattr(cost, "measured", lambda *args: ones)
    dataset = case.source_dataset(numpy_stream(0, "dataset"))
    data = corrupt(dataset, None, case.spec.validation_fraction, numpy_stream(0, "corruption"))
    return data, expected_seconds(case, data, nn.Linear(2, 2), dict.fromkeys(case.groups, 30), trains=True)


def test_a_case_takes_the_passes_of_each_of_its_steps_for_each_of_its_groups(tmp_path, monkeypatch):
    data, seconds = expected(tmp_path, monkeypatch, treat=["ewc", "random"], causes={"fdr": 0.1})
    n = len(data.fit.examples)
    assert seconds["base_model"] == n * 30  # max_epochs, which is below the usual length
    assert seconds["fisher_diagonal"] == n
    assert seconds["influence_ewc"] == 2 * FOLDS * 150 * 128  # calibrated, as the rule needs
    assert seconds["influence_random"] == 0
    assert seconds["repaired_finetune"] == 2 * 3 * FINETUNING * n  # of ewc, of random, and with nothing removed
    assert seconds["gate_controls"] == 2 * (4 + 5) * FINETUNING * n  # other seeds and controls
    assert seconds["pairs"] == 2 * (30 + min(200, n))


def test_cross_fitting_and_the_patchs_verdict_train_as_often_as_they_say(tmp_path, monkeypatch):
    fields = {"influence": {"cross_fit": {}}, "treat": ["cross_fit"], "patch": {"trainings": 3}}
    data, seconds = expected(tmp_path, monkeypatch, training={"epochs": 7}, **fields)
    n = len(data.fit.examples)
    assert seconds["base_model"] == 7 * n
    assert seconds["cross_fit"] == 2 * FOLDS * 7 * n  # for each of two groups
    assert seconds["influence_cross_fit"] == 0  # it reads what cross-fitting has made
    assert seconds["patch_verdict"] == 2 * 3 * 7 * n  # as they are and patched, once for both groups
    assert seconds["repaired_finetune"] == 2 * 2 * 7 * n  # with and without causes


def test_without_a_gate_there_are_no_pairs_and_no_controls(tmp_path, monkeypatch):
    _, seconds = expected(tmp_path, monkeypatch, gate=None, treat=["ewc"], treatments={"newton": {}, "base": {}})
    assert not {"pairs", "gate_controls"} & set(seconds)


def test_controls_cost_what_the_judged_treatment_costs(tmp_path, monkeypatch):
    data, seconds = expected(tmp_path, monkeypatch, treat=["ewc"], treatments={"newton": {}, "finetune": {}})
    assert seconds["gate_controls"] == 2 * (4 + 5) * 15 * len(data.fit.examples)


def test_every_speed_is_measured_and_the_model_stays_as_it_is(task):
    model = freeze(nn.Sequential(nn.Flatten(), nn.Linear(task.fit.shape.numel(), 3)).double(), "all")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    speed = measured(model, task.training, task.fit, products=True)
    assert min(speed.epoch, speed.step, speed.forward, speed.gradient, speed.product) > 0
    assert measured(model, task.training, task.fit, products=False).product == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
