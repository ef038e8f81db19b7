"""The catalogues: what each entry is there for, and entries that scripts and other packages bring."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import repair_pipeline as rp
from repair_pipeline import plugins
from repair_pipeline.cases.build import load_dataset
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import Method
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.reporting.descriptions import description, kind, short_name
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline_tests.plugin_example import catalogue_example as example

PLUGIN = Path(__file__).parent / "plugin_example"


def row(treatment, method=None, removed=0):
    return {"treatment": treatment, "influence_method": method, "removed": removed, "setting": "{}"}


@pytest.mark.parametrize(
    ("treatment", "method", "is_a"),
    [
        ("base", None, "before"),
        ("finetune", "ewc", "repair"),
        ("finetune", "loss", "repair"),
        ("finetune", "random", "control"),
        ("finetune", "oracle", "reference"),
        ("finetune", None, "control"),
        ("semi_oracle", None, "reference"),
        ("retrain", None, "reference"),
        ("combined", None, "reference"),
        ("retrain", "ewc", "repair"),
        ("reseed", None, "control"),
        ("learn_guard", None, "control"),
        ("learn_query", None, "repair"),
        ("l2_query", None, "repair"),
        ("auto", None, "repair"),
        ("auto", "ewc", "repair"),
        ("of a plugin that has gone", "ewc", "repair"),
    ],
)
def test_the_catalogue_says_what_a_model_is_there_for(treatment, method, is_a):
    assert kind(row(treatment, method)) == is_a


def test_what_reads_the_truth_is_called_after_the_planted_rows():
    planted = row("retrain", None, 45)
    assert short_name(planted) == "planted → retrain"
    assert description(planted) == "retraining without the planted rows"
    assert description(row("retrain", "ewc", 45)) == "retraining without the 45 causes found by ewc"


def test_every_entry_says_in_a_line_what_it_does():
    for entry in (*METHODS.values(), *LIKELIHOODS.values(), *DATASETS.values()):
        assert entry.line
        assert "\n" not in entry.line
    for recipe in TREATMENTS.values():
        assert ("causes" in recipe.removes) == (recipe.of_rows is not None)
        assert (set(recipe.removes) != {"causes"}) == (recipe.alone is not None)


def declares(monkeypatch, name, value):
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint(name, value, group)])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("mine", "nowhere_at_all:method", r"mine of a\.group \(nowhere_at_all:method\) cannot be imported"),
        ("mine", "json:loads", "is a function: name a Method"),
        ("ewc", f"{__name__}:A_METHOD", "has a name that is taken"),
    ],
)
def test_a_plugin_that_cannot_be_meant_is_refused_in_a_line(monkeypatch, name, value, says):
    declares(monkeypatch, name, value)
    with pytest.raises(InputError, match=says) as caught:
        plugins.plugins("a.group", Method, dict(METHODS))
    assert "\n" not in str(caught.value)


A_METHOD = METHODS["loss"]


def test_a_plugin_is_an_entry_like_any_other(monkeypatch):
    declares(monkeypatch, "mine", f"{__name__}:A_METHOD")
    assert plugins.plugins("a.group", Method, dict(METHODS)) == {"mine": A_METHOD}


CASE = """
dataset: {name: two_gaussians, train_size: 150}
model: {factory: "catalogue_example:perceptron"}
likelihood: bernoulli
corruption: {rate: 0.3, confusion: {0: {1: 1.0}}}
training: {max_epochs: 3, learning_rate: 0.01}
influence: {norm: {}, random: {}}
treat: [norm, random]
causes: {top: 5}
treatments: {base: {}, shrunk: {}}
"""


@pytest.fixture
def catalogues():
    """All four, as they were before once the test is over."""
    kept = [(entries, dict(entries)) for entries in (METHODS, TREATMENTS, LIKELIHOODS, DATASETS)]
    yield
    for entries, before in kept:
        for name in entries.keys() - before.keys():
            del entries[name]


def a_problem(likelihood):
    rows = example.two_gaussians(60, np.random.default_rng(0), PLUGIN).train
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.zero_()
    part = rows.inputs, rows.labels
    wrong = (model(rows.inputs)[:, 0] > 0) != rows.labels
    failures, guard = (tuple(column[which] for column in part) for which in (wrong, ~wrong))
    assert len(failures[0]) > 3
    return rp.RepairProblem(model, part, failures=failures, guard=guard, likelihood=likelihood)


def test_a_script_registers_what_it_made_and_uses_it_by_name(catalogues):
    assert (
        rp.register_influence("largest", line="rows with the largest inputs rank first")(example.Norm) is example.Norm
    )
    rp.register_treatment("smaller", removes=("causes",), of_rows="shrinking by {rows}")(example.Shrunk)
    rp.register_likelihood("one_output", line="a single output")(example.one_output)
    rp.register_dataset("gaussians", line="two Gaussians")(example.two_gaussians)
    problem = a_problem("one_output")
    scores = rp.attribute(problem, "largest")
    assert scores.influence.values.argmax() == problem.fit.inputs.norm(dim=1).argmax()
    repaired = rp.repair(problem, scores.top(10), "smaller").model
    torch.testing.assert_close(repaired(torch.ones(1, 2)), 0.999 * torch.full((1, 1), 2.0))
    spec = parse_spec({"name": "a", "dataset": {"name": "gaussians", "train_size": 50}, "likelihood": "one_output"})
    assert len(load_dataset(spec, PLUGIN, np.random.default_rng(0)).train) == 50
    assert spec.resolved["likelihood"] == "one_output"


@pytest.mark.parametrize(
    ("register", "name", "about", "says"),
    [
        (rp.register_influence, "ewc", {"line": "mine"}, "the influence method 'ewc' already exists"),
        (rp.register_treatment, "finetune", {"removes": ()}, "the treatment 'finetune' already exists"),
        (rp.register_likelihood, "softmax", {"line": "mine"}, "the likelihood 'softmax' already exists"),
        (rp.register_dataset, "mnist", {"line": "mine"}, "the data set 'mnist' already exists"),
    ],
)
def test_a_name_that_is_taken_is_not_registered(register, name, about, says):
    with pytest.raises(InputError, match=f"{says}: give it another name"):
        register(name, **about)(object)


def test_nothing_is_registered_twice(catalogues):
    rp.register_influence("mine", line="the first")(example.Norm)
    with pytest.raises(InputError, match="'mine' already exists"):
        rp.register_influence("mine", line="the second")(example.Shrunk)
    assert METHODS["mine"] == Method(example.Norm, "the first")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"dataset": {"name": "minst", "train_size": 9}},
            r"dataset\.name: there is no data set 'minst': did you mean mnist",
        ),
        ({"dataset": {"name": "fashion", "train_size": 9}}, "choose among digits, mnist, cifar10, banking77"),
        ({"likelihood": "sofmax"}, r"likelihood: there is no likelihood 'sofmax': did you mean softmax"),
        ({"influence": {"ewcc": {}}}, r"influence: there is no influence method 'ewcc': did you mean ewc"),
        ({"treatments": {"finetun": {}}}, r"treatments: there is no treatment 'finetun': did you mean finetune"),
    ],
)
def test_a_name_that_no_catalogue_has_is_refused_with_one_that_it_has(fields, says):
    with pytest.raises(InputError, match=says) as caught:
        parse_spec({"name": "a", "dataset": {"name": "digits", "train_size": 500}, **fields})
    assert "\n" not in str(caught.value)


def test_the_default_likelihood_is_no_part_of_a_case():
    plain = {"name": "a", "dataset": {"name": "digits", "train_size": 500}}
    said = parse_spec({**plain, "likelihood": "softmax"})
    assert said == parse_spec(plain)
    assert said.likelihood is None


def test_another_likelihood_makes_another_case_and_another_base(catalogues):
    rp.register_likelihood("one_output", line="a single output")(example.one_output)
    plain = parse_spec({"name": "a", "dataset": {"name": "digits", "train_size": 500}})
    other = replace(plain, likelihood="one_output")
    assert (other.digest, other.base_id) != (plain.digest, plain.base_id)
    assert other.base_id != plain.base_id


def test_a_model_is_judged_by_its_likelihood_and_given_back_with_its_own_outputs():
    problem = a_problem(example.bernoulli)
    repaired = rp.repair(problem, problem.fit.ids[:5].tolist(), "finetune")
    assert repaired.model(torch.zeros(3, 2)).shape == (3, 1)
    more = example.two_gaussians(2, np.random.default_rng(1), PLUGIN).test
    right = predictions(problem.base, more) == more.labels
    assert 0.6 < right.double().mean() < 1
    holdout, remaining = ((rows.inputs, rows.labels) for rows in (more[~right], more[right]))
    for judged in (repaired, repaired.model):
        assert rp.judge(problem, judged, holdout, remaining).verdict


RUN = """
from repair_pipeline.cli.main import app
from repair_pipeline.defs.assets.lineage import EVERY
names = {step.name for asset in EVERY for step in asset.steps}
assert {"influence_norm", "repaired_shrunk"} <= names, names
app(["run", "example.yaml"])
"""


def test_an_installed_package_brings_entries_of_all_four_catalogues_that_the_shell_and_dagster_know(tmp_path):
    (tmp_path / "example.yaml").write_text(CASE)
    found = os.pathsep.join((str(PLUGIN), str(PLUGIN.parents[1])))
    environment = {**os.environ, "PYTHONPATH": found, "REPAIR_HOME": str(tmp_path), "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for line in ("influence_norm", "repaired_shrunk", "norm → shrunk", "random → shrunk", "nothing → shrunk"):
        assert line in ran.stdout
