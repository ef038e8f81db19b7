"""What ``repair check`` can say before a model is trained."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.test_user_case import spec
from repair_pipeline_tests.wards import rows


def looked_at(tmp_path, tests, bound):
    rows(60, 1, flipped=False).to_parquet(tmp_path / "train.parquet", index=False)
    rows(tests, 2, flipped=False).to_parquet(tmp_path / "test.parquet", index=False)
    case = case_at(tmp_path / "home", spec(tmp_path, gate={"bound": bound}))
    return list(preflight(case))


@pytest.mark.parametrize(("tests", "fine"), [(364, False), (365, True)])
def test_a_bound_that_half_of_the_test_rows_cannot_prove_is_named_before_training(tmp_path, tests, fine):
    """183 unbroken rows prove 0.02, and the half that remaining is of 364 rows are 182."""
    said = [finding.says for finding in looked_at(tmp_path, tests, bound=0.02) if finding.name == "gate"]
    expected = "at most 182 remaining rows cannot prove a loss below 0.02, 183 can: add test rows, or raise gate.bound"
    assert said == ([] if fine else [expected])
    remaining = math.ceil(tests / 2)
    perfect = Outcomes(
        repaired_holdout=np.full(50, True),
        controls_holdout=np.full((3, 50), False),
        repaired_remaining=np.full(remaining, True),
        remaining_labels=np.zeros(remaining, dtype=np.int64),
        share=0.1,
        removed=10,
    )
    verdict = judge(Gate(bound=0.02), perfect, ["sick", "well"], np.random.default_rng(0)).verdict
    assert verdict == ("accepted" if fine else "rejected")


def test_the_size_of_a_row_of_features_is_said_in_words(tmp_path):
    found = {finding.name: finding.says for finding in looked_at(tmp_path, 400, bound=0.2)}
    assert found["rows"] == "54 fit, 6 validation, 400 test, each 2 features (x, y)"


def test_names_that_look_alike_are_told_apart_and_what_is_no_feature_is_said(tmp_path):
    for part, count in (("train", 60), ("test", 400)):
        table = rows(count, 1, flipped=False)
        table.label = table.label.replace("sick", "well ")
        table.assign(flag=table.x > 0).to_parquet(tmp_path / f"{part}.parquet", index=False)
    own = spec(tmp_path, failures=None)
    own = replace(own, dataset=replace(own.dataset, id=None))
    found = {finding.name: finding.says for finding in preflight(case_at(tmp_path / "home", own))}
    assert "0 = well (" in found["labels"]
    assert "1 = 'well ' (" in found["labels"]
    assert found["features"] == "truth values are none unless dataset.features names them: flag"


def line():
    return nn.Linear(2, 2)


@pytest.mark.parametrize(("classes", "fine"), [(None, True), (["well", "sick"], False)])
def test_outputs_in_another_order_than_the_labels_are_noticed(tmp_path, classes, fine):
    for part, count in (("train", 60), ("test", 400)):
        rows(count, 1, flipped=False).to_parquet(tmp_path / f"{part}.parquet", index=False)
    weights = {"weight": torch.tensor([[0.3, 1.0], [-0.3, -1.0]]), "bias": torch.zeros(2)}  # sick, the first, above 0
    save_file(weights, tmp_path / "model.safetensors")
    model = {"factory": f"{__name__}:line", "weights": str(tmp_path / "model.safetensors")}
    own = spec(tmp_path, model=model, failures=None)
    own = replace(own, dataset=replace(own.dataset, classes=classes, id=None))
    found = next(finding for finding in preflight(case_at(tmp_path / "home", own)) if finding.name == "accuracy")
    assert found.fine == fine
    assert ("Are the outputs in the order of labels?" in found.says) == (not fine)


def halved(inputs, generator):
    return inputs[:, :1]


def shaken(inputs, generator):
    return inputs + torch.randn(inputs.shape, generator=generator)


def not_called(*args, **kwargs):
    raise AssertionError


def with_recipe(tmp_path, training):
    for part, count, seed in (("train", 60, 1), ("test", 400, 2)):
        rows(count, seed, flipped=False).to_parquet(tmp_path / f"{part}.parquet", index=False)
    return list(preflight(case_at(tmp_path / "home", spec(tmp_path, training=training))))


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"max_epochs": 3}, []),
        ({"epochs": 3, "schedule": "one_cycle"}, ["adam works on 8 rows"]),
        ({"epochs": 3, "augment": f"{__name__}:shaken"}, [f"adam and {__name__}:shaken work on 8 rows"]),
        ({"function": f"{__name__}:not_called"}, [f"{__name__}:not_called is found; it is tried when it first trains"]),
    ],
    ids=["app_c", "fields", "augmented", "function"],
)
def test_the_owners_recipe_is_tried_on_eight_rows(tmp_path, training, says):
    assert [finding.says for finding in with_recipe(tmp_path, training) if finding.name == "training"] == says


def test_an_augmentation_or_a_function_that_cannot_be_used_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match=r"halved returns torch.float32 of shape \(8, 1\): return torch.float32 of"):
        with_recipe(tmp_path, {"epochs": 3, "augment": f"{__name__}:halved"})
    with pytest.raises(InputError, match=r"training\.function names 'absent'"):
        with_recipe(tmp_path, {"function": f"{__name__}:absent"})


def test_the_time_of_a_recipe_grows_with_its_epochs(tmp_path):
    says = [
        next(finding.says for finding in with_recipe(tmp_path, {"epochs": epochs}) if finding.name == "time")
        for epochs in (1, 10_000_000)
    ]
    few, many = (int(each.split()[1]) for each in says)
    assert many > 100 * few
