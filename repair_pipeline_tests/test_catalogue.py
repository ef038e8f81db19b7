"""The catalogues of methods and treatments: what each entry is there for, and entries that other packages bring."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from repair_pipeline import plugins
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import Method
from repair_pipeline.reporting.words import in_words, kind, short_name
from repair_pipeline.treatment.treatments import TREATMENTS

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
    assert in_words(planted) == "retraining without the planted rows"
    assert in_words(row("retrain", "ewc", 45)) == "retraining without the 45 causes found by ewc"


def test_every_entry_says_in_a_line_what_it_does():
    for method in METHODS.values():
        assert method.line
        assert "\n" not in method.line
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


RUN = """
from repair_pipeline.cli.main import app
from repair_pipeline.defs.assets import ASSETS
names = {key.to_user_string() for asset in ASSETS for key in asset.keys}
assert {"influence_norm", "repaired_shrunk"} <= names, names
app(["run", "digits-label_noise-s0", "--set", "dataset.train_size=150", "--set", "training.max_epochs=2",
     "--set", "influence={norm: {}, random: {}}", "--set", "treat=[norm, random]", "--set", "causes={top: 5}",
     "--set", "treatments={base: {}, shrunk: {}}"])
"""


def test_an_installed_package_brings_methods_that_the_shell_and_dagster_know(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(PLUGIN), "REPAIR_HOME": str(tmp_path), "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    for line in ("influence_norm", "repaired_shrunk", "norm → shrunk", "random → shrunk", "nothing → shrunk"):
        assert line in ran.stdout
