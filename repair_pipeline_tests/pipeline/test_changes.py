"""Which steps are made again when an input changes: what depends on it, and nothing else."""

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from repair_pipeline.cases.resolve import load_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.inputs import changed_inputs, opened
from repair_pipeline.pipeline.plan import changed_since, plan, staleness
from repair_pipeline.pipeline.run import run_case
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.identity import record_path
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.types import silent
from repair_pipeline_tests.wards import write_tables

CASE = """
dataset: {train: train.parquet, test: test.parquet, id: row, transform: "her_data:prepare"}
model: {factory: "her_model:net", weights: model.safetensors}
failures: {list: failures.csv}
training: {function: "her_training:train"}
influence: {loss: {}, random: {}}
treat: [loss, random]
causes: {top: 20}
treatments: {base: {}, selective_dampening: {}}
"""
NET = """
from torch import nn
def net(): return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
"""
BASE = ["corrupted_dataset", "base_model", "failure_partition", "fisher_diagonal"]
FOUND = ["influence_loss", "influence_random"]
REPAIRED = ["repaired_base", "repaired_selective_dampening"]
SHOWN = ["evaluation", "report", "tracked_run"]
ALL = [*BASE, *FOUND, *REPAIRED, *SHOWN]
OF_FAILURES = ["failure_partition", *FOUND, *REPAIRED, *SHOWN]


def bound(folder):
    layout = Layout(folder / "home")
    spec = opened(load_spec(str(folder / "wards.yaml")), layout)
    return Case(spec, layout, folder, torch.device("cpu")).first_view


def made(folder, steps=STEPS):
    """The steps that a run of the case makes something in."""
    case, entered = bound(folder), []

    def watch(step):
        entered.append(step.name)
        return nullcontext(silent)

    assert run_case(case, watch, steps=steps).failed == {}
    return entered


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """An owner's folder, whose case has been run."""
    folder = tmp_path_factory.mktemp("owner")
    write_tables(folder)
    (folder / "her_data.py").write_text("def prepare(row): return row\n")
    (folder / "her_model.py").write_text(NET)
    (folder / "her_training.py").write_text("def train(model, *rows, **given): return model\n")
    (folder / "wards.yaml").write_text(CASE)
    # Well, unless y is above one half: sick rows with y in (0, 0.5) are failures.
    first = torch.tensor([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    last = torch.tensor([[4.0, -4.0, 0.1, 0.1], [-4.0, 4.0, 0.1, -0.1]])
    weights = {"0.weight": first, "0.bias": torch.zeros(4), "2.weight": last, "2.bias": torch.tensor([-2.0, 2.0])}
    save_file(weights, folder / "model.safetensors")
    write_list(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        assert made(folder) == ALL
        assert made(folder) == []
    return folder


def write_list(folder, skip=0):
    rows = pd.read_parquet(folder / "test.parquet")
    failing = rows[(rows.label == "sick") & (rows.y < 0.45)][skip:]
    failing[["row"]].to_csv(folder / "failures.csv", index=False)


@pytest.fixture
def folder(once, tmp_path, monkeypatch):
    folder = tmp_path / "copied"
    shutil.copytree(once, folder)
    monkeypatch.syspath_prepend(str(folder))
    assert made(folder) == []  # a project that is copied with its home is the same
    return folder


def shuffled(folder, name):
    file = folder / f"{name}.parquet"
    pd.read_parquet(file)[::-1].to_parquet(file, index=False)


def nudged(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor + 0.001 for name, tensor in weights.items()}, folder / "model.safetensors")


def commented(folder, file):
    (folder / file).write_text((folder / file).read_text() + "# changed\n")


CHANGES = {
    "training data": (lambda folder: shuffled(folder, "train"), "train.parquet", ALL),
    "test data": (lambda folder: shuffled(folder, "test"), "test.parquet", ALL),
    "weights": (nudged, "model.safetensors", ALL),
    "code of the factory": (lambda folder: commented(folder, "her_model.py"), "her_model:net", ALL),
    "code of the transform": (lambda folder: commented(folder, "her_data.py"), "her_data:prepare", ALL),
    "code of the training": (lambda folder: commented(folder, "her_training.py"), "her_training:train", ALL),
    "list of failures": (lambda folder: write_list(folder, 1), "failures.csv", OF_FAILURES),
}
"""What is changed, how it is called, and the steps that are made again. Data, model and Fisher are one base."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_input_makes_what_depends_on_it_and_nothing_else(folder, change):
    make, name, expected = CHANGES[change]
    before = bound(folder)
    times = {file: file.stat() for file in folder.iterdir() if file.is_file()}
    make(folder)
    for file, was in times.items():
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))  # no time says that anything has changed
    assert changed_since(bound(folder)) == f"{name} changed since {before.id}"
    assert made(folder) == expected
    assert made(folder) == []


def test_changed_code_of_an_augmentation_makes_another_base(folder):
    (folder / "her_training.py").write_text("def shaken(inputs, generator): return inputs\n")
    recipe = '{epochs: 1, augment: "her_training:shaken"}'
    (folder / "wards.yaml").write_text(CASE.replace('{function: "her_training:train"}', recipe))
    case = bound(folder)
    commented(folder, "her_training.py")
    assert changed_inputs(case.spec, case.layout) == ["training.augment"]
    assert bound(folder).spec.base_id != case.spec.base_id


VERSIONS = {
    "corrupted_dataset": ALL,
    "influence_loss": ["influence_loss", "repaired_selective_dampening", *SHOWN],
    "influence_random": ["influence_random", "repaired_selective_dampening", *SHOWN],
    "repaired_base": ["repaired_base", *SHOWN],
    "report": ["report"],  # which is the same page here, so nothing follows
    "tracked_run": ["tracked_run"],
}


@pytest.mark.parametrize("name", VERSIONS)
def test_a_step_of_another_version_is_made_again_and_what_depends_on_it(folder, name):
    changed = [replace(step, version=step.version + 1) if step.name == name else step for step in STEPS]
    assert made(folder, changed) == VERSIONS[name]
    assert made(folder, changed) == []


def test_the_plan_says_what_a_run_would_make_and_why(folder):
    case = bound(folder)
    assert [(each.step.name, each.stale, each.why) for each in plan(case)] == [(name, 0, "") for name in ALL]
    case.influence_path("loss").unlink()
    found = {each.step.name: each.why for each in plan(case) if each.stale}
    assert found["influence_loss"] == "not made yet"
    assert found["repaired_selective_dampening"] == "influence_loss is made again"
    assert list(found) == made(folder) == VERSIONS["influence_loss"]


def test_a_stored_case_says_why_it_is_stale(folder):
    case = bound(folder)
    assert staleness(case) is None
    shuffled(folder, "train")
    assert staleness(case) == "train.parquet changed"
    shuffled(folder, "train")
    (folder / "her_model.py").unlink()
    assert staleness(case) == "her_model:net is gone"


def test_results_of_an_earlier_version_are_not_used_and_not_lost_and_a_line_says_so(folder, caplog):
    case = bound(folder)
    scores = case.influence_path("loss")
    before = scores.read_bytes()
    record_path(scores).unlink()
    assert made(folder) == VERSIONS["influence_loss"]
    assert caplog.messages == [
        "1 results of an earlier version are not used, and kept as .NAME.earlier beside new ones"
    ]
    assert scores.with_name(".influence.parquet.earlier").read_bytes() == before
    assert len(query(case.layout, "SELECT * FROM influence WHERE method = 'loss'")) == len(case.data.fit.examples)


def test_code_that_is_edited_while_a_case_runs_is_noticed(folder, monkeypatch):
    case, real = bound(folder), steps.fisher_diagonal
    case.fisher_path.unlink()

    def edited(*args, **kwargs):
        (folder / "her_model.py").write_text(NET.replace("ReLU", "Tanh"))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(steps, "fisher_diagonal", edited)
        with pytest.raises(InputError, match=r"model.factory \(her_model:net\) changed"):
            made(folder)
    (folder / "her_model.py").write_text(NET)
    assert not case.fisher_path.exists()
    assert made(folder)[0] == "fisher_diagonal"


def test_a_base_and_a_read_holdout_outlive_input_that_proves_unusable(folder, monkeypatch):
    write_list(folder, 1)

    def refused(*args, **kwargs):
        raise InputError("the report cannot be made")

    base = set(bound(folder).base_model_path.parent.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(steps, "partition", refused)
        with pytest.raises(InputError):
            made(folder)
    assert set(bound(folder).base_model_path.parent.iterdir()) == base
    assert bound(folder).record is None
    with monkeypatch.context() as patch:
        patch.setattr(steps, "render_report", refused)
        with pytest.raises(InputError):
            made(folder)
    assert bound(folder).record["status"] == "failed"
    assert len(query(bound(folder).layout, f"SELECT * FROM holdout_reads WHERE case_id = '{bound(folder).id}'"))


def test_a_case_of_a_study_is_finished_with_its_tables(folder):
    write_list(folder, 1)
    upto = [step for step in STEPS if step.name not in ("report", "tracked_run", "candidate")]
    made(folder, upto)
    assert bound(folder).record["status"] == "finished"
    assert staleness(bound(folder)) is None


def test_a_run_that_is_stopped_before_it_made_anything_is_not_left_running(folder, monkeypatch):
    case = bound(folder)
    case.fisher_path.unlink()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, "fisher_diagonal", stop)
        with pytest.raises(KeyboardInterrupt):
            made(folder)
    assert case.record["status"] == "stopped"
