"""What a case's files and code hold decides which case it is."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.inputs import changed_inputs, opened, require_unchanged
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.wards import write_tables

CASE = """
dataset: {train: train.parquet, test: test.parquet, id: row, transform: "her_code:prepare"}
model: {factory: "her_code:net", weights: model.safetensors}
failures: {list: failures.csv}
"""
CODE = """
from her_layers import WIDTH
from torch import nn
def net(): return nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
def prepare(row): return row
"""


def project(folder):
    folder.mkdir()
    write_tables(folder)
    (folder / "her_code.py").write_text(CODE)
    (folder / "her_layers.py").write_text("WIDTH = 4\n")
    weights = {"0.weight": (4, 2), "0.bias": (4,), "2.weight": (2, 4), "2.bias": (2,)}
    save_file({name: torch.ones(shape) for name, shape in weights.items()}, folder / "model.safetensors")
    (folder / "failures.csv").write_text("row\n2-1\n")
    (folder / "wards.yaml").write_text(CASE)
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    return project(tmp_path / "A")


def case(folder):
    return opened(load_spec(str(folder / "wards.yaml")), Layout(folder / "home"))


def test_a_project_that_is_moved_or_copied_is_the_same_case(folder, tmp_path, monkeypatch):
    here = case(folder)
    assert set(here.inputs) == {
        *("dataset.train", "dataset.test", "dataset.transform", "model.weights", "model.factory", "failures.list"),
    }
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    for file in copied.iterdir():
        os.utime(file, (1, 1))
    there = case(copied)
    assert (case_id(there), there.base_id) == (case_id(here), here.base_id)
    monkeypatch.chdir(folder)
    assert opened(load_spec("wards.yaml"), Layout(folder / "home")) == here


def test_a_file_under_another_name_is_the_same_case(folder):
    here = case(folder)
    (folder / "train.parquet").rename(folder / "rows.parquet")
    renamed = with_settings(load_spec(str(folder / "wards.yaml")), ["dataset.train=rows.parquet"])
    assert case_id(opened(renamed, Layout(folder))) == case_id(here)


def other_rows(folder):
    pd.read_parquet(folder / "train.parquet")[::-1].to_parquet(folder / "train.parquet", index=False)


CHANGES = {
    "training data": ("dataset.train", other_rows),
    "test data": ("dataset.test", lambda folder: shutil.copy(folder / "train.parquet", folder / "test.parquet")),
    "weights": ("model.weights", lambda folder: save_file({"x": torch.ones(1)}, folder / "model.safetensors")),
    "the list": ("failures.list", lambda folder: (folder / "failures.csv").write_text("row\n2-3\n")),
}


@pytest.mark.parametrize("time", [1, 2**31])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_holds_something_else_makes_another_case_whatever_its_time(folder, change, time):
    key, make = CHANGES[change]
    before = case(folder)
    make(folder)
    for file in folder.iterdir():
        os.utime(file, (time, time))
    after = case(folder)
    assert case_id(after) != case_id(before)
    assert (after.base_id == before.base_id) == key.startswith("failures.")
    assert changed_inputs(before, Layout(folder)) == [key]
    with pytest.raises(InputError, match=rf"{key} \(.*\) changed since case wards was opened"):
        require_unchanged(before, Layout(folder))
    require_unchanged(after, Layout(folder))


@pytest.mark.parametrize("file", ["her_code.py", "her_layers.py"])
def test_code_that_changes_makes_another_case(folder, file):
    before = case(folder)
    (folder / file).write_text((folder / file).read_text() + "# changed\n")
    after = case(folder)
    assert case_id(after) != case_id(before)
    assert changed_inputs(before, Layout(folder)) == ["dataset.transform", "model.factory"]


def pictures(folder):
    for label in ("a", "b"):
        (folder / "train" / label).mkdir(parents=True)
        for at in range(2):
            Image.new("L", (4, 4), ord(label) + at).save(folder / "train" / label / f"{at}.png")


IN_A_FOLDER = {
    "overwritten": lambda train: Image.new("L", (4, 4), 7).save(train / "a" / "0.png"),
    "added": lambda train: Image.new("L", (4, 4), 7).save(train / "a" / "2.png"),
    "moved to another class": lambda train: (train / "a" / "1.png").rename(train / "b" / "2.png"),
    "taken away": lambda train: (train / "a" / "1.png").unlink(),
}


@pytest.mark.parametrize("change", IN_A_FOLDER)
def test_a_picture_of_a_folder_that_changes_makes_another_case(folder, change):
    pictures(folder)
    spec = with_settings(load_spec(str(folder / "wards.yaml")), ["dataset.train=train"])
    before = opened(spec, Layout(folder))
    IN_A_FOLDER[change](folder / "train")
    assert case_id(opened(spec, Layout(folder))) != case_id(before)


def test_a_part_of_a_folder_that_changes_makes_another_case(folder):
    (folder / "parts").mkdir()
    shutil.copy(folder / "train.parquet", folder / "parts" / "0.parquet")
    spec = with_settings(load_spec(str(folder / "wards.yaml")), ["dataset.train=parts"])
    before = opened(spec, Layout(folder))
    shutil.copy(folder / "test.parquet", folder / "parts" / "0.parquet")
    assert case_id(opened(spec, Layout(folder))) != case_id(before)


def test_a_preset_has_no_files_and_keeps_its_name(tmp_path):
    spec = opened(preset("digits-label_noise-s0"), Layout(tmp_path))
    assert (case_id(spec), spec.inputs, spec.folder) == ("digits-label_noise-s0", None, None)


def test_data_that_change_while_they_are_read_make_nothing(folder, monkeypatch):
    pinned = replace(case(folder), failures=None)
    save = steps.save_dataset

    def changes_then(path, *rest):
        save(path, *rest)
        other_rows(folder)

    monkeypatch.setattr(steps, "save_dataset", changes_then)
    at = case_at(folder / "home", pinned)
    with pytest.raises(InputError, match=r"dataset\.train \(train\.parquet\) changed since"):
        STEPS[0].run(at)
    assert not at.dataset_path.exists()


def test_another_folders_model_is_not_given_a_version(folder, tmp_path):
    layout = Layout(tmp_path / "home")
    first = case_at(layout.home, replace(case(folder), gate=Gate()))
    first.register("finished")
    write_text(first.layout.candidate(first.id), json.dumps({"name": "wards", "version": 2}))
    require_runnable(first)
    copied = Path(shutil.copytree(folder, tmp_path / "B"))
    same, other = case(copied), with_settings(load_spec(str(copied / "wards.yaml")), ["seed=1"])
    require_runnable(case_at(layout.home, replace(same, gate=Gate())))
    with pytest.raises(InputError, match=f"wards is called as the model of {folder}, whose case {first.id}"):
        require_runnable(case_at(layout.home, replace(opened(other, layout), gate=Gate())))
    require_runnable(case_at(layout.home, opened(other, layout)))
    folder.rename(tmp_path / "gone")
    require_runnable(case_at(layout.home, replace(opened(other, layout), gate=Gate())))
