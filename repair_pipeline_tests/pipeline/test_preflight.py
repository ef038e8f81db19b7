"""What ``repair check`` can say before a model is trained."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from repair_pipeline.cases.sources import UserModel
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.datasets.applications import record_path
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.pipeline.failures import failure_parts
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline.pipeline.standing import applied_patch_of_another
from repair_pipeline.storage.records import save_rows
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
    short = (
        "at most 182 remaining rows (half of what the model gets right; the other half is the guard) prove at best a "
        "loss below 0.021, if none breaks; 183 prove 0.02: add test rows, or raise gate.bound "
        "(0.03 allows 0 broken, 0.05 allows 3 broken, 0.1 allows 10 broken, 0.2 allows 25 broken)"
    )
    enough = "at most 0 of at most 183 remaining rows may break, to prove a loss below 0.02"
    assert said == [enough if fine else short]
    remaining = math.ceil(tests / 2)
    perfect = Outcomes(
        repaired_holdout=np.full(50, True),
        repaired_remaining=np.full(remaining, True),
        repairs_holdout=np.full((5, 50), True),
        repairs_remaining=np.full((5, remaining), True),
        controls_holdout=np.full((5, 50), False),
        controls_remaining=np.full((5, remaining), True),
        remaining_labels=np.zeros(remaining, dtype=np.int64),
        share=0.1,
        removed=10,
    )
    verdict = judge(Gate(bound=0.02), [perfect], ["sick", "well"], np.random.default_rng(0))[0].verdict
    assert verdict == ("accepted" if fine else "not_proven")


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


@pytest.fixture
def images(tmp_path):
    """A case of twelve training images and six test images of a folder, half of them bright."""
    for part, count in (("train", 12), ("test", 6)):
        for at in range(count):
            file = tmp_path / part / ("bright" if at % 2 else "dark") / f"{at:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng((part == "test", at)).integers(0, 100, (8, 8)) + 150 * (at % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    fields = {
        "name": "x",
        "dataset": {"train": "train", "test": "test"},
        "model": {"name": "mlp"},
        "influence": {"loss": {}},
    }
    own = parse_spec({**fields, "treat": ["loss"], "treatments": {"base": {}}, "validation_fraction": 0.25})
    return case_at(tmp_path / "home", replace(own, folder=str(tmp_path)))


def test_what_the_reader_noticed_and_a_class_without_test_rows_are_said(tmp_path, images):
    (tmp_path / "train" / "dark" / "._00.png").write_bytes(b"macOS")
    (tmp_path / "train" / "dark" / "note.txt").write_bytes(b"mine")
    for file in (tmp_path / "test" / "bright").iterdir():
        file.unlink()
    found = [(finding.name, finding.says, finding.fine) for finding in preflight(images)]
    assert ("data", "train: hidden, so not read: dark/._00.png", True) in found
    assert ("data", "train: no image in the folder of a class, so not read: dark/note.txt", False) in found
    assert ("labels", "no test row is of bright: nothing is judged on it", False) in found


@pytest.mark.parametrize("at", range(0, 12, 2))
def test_an_image_that_fails_as_it_is_decoded_is_refused_in_every_part(tmp_path, images, at):
    file = tmp_path / "train" / "dark" / f"{at:02}.png"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(
        InputError, match=rf"training row {6 + at // 2} \(dark/{at:02}\.png\) has an image that cannot be"
    ):
        list(preflight(images))


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
    few, many = (float(each.split()[1]) for each in says)
    assert many > 100 * few


def with_weights(tmp_path, **fields):
    """A case that gives weights, on 400 test rows of which its model gets half wrong."""
    for part, count in (("train", 60), ("test", 400)):
        rows(count, len(part), flipped=False).to_parquet(tmp_path / f"{part}.parquet", index=False)
    save_file({"weight": torch.eye(2), "bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    model = {"factory": f"{__name__}:line", "weights": str(tmp_path / "model.safetensors")}
    return case_at(tmp_path / "home", spec(tmp_path, model=model, failures=None, **fields))


def findings(case, kind):
    return [(finding.says, finding.fine) for finding in preflight(case) if finding.name.startswith(kind)]


def test_rows_that_earlier_repairs_read_are_announced(tmp_path):
    case = with_weights(tmp_path)
    assert findings(case, "holdout") == []
    parts = failure_parts(case.spec, *known(case))
    ids = parts["all"].holdout.ids.tolist()

    def read(count, reader):
        noted = {"failure_group": "all", "tests": case.spec.tests, "content": None, "model": "theirs"}
        then = [{**noted, "example_id": row, "read_at": datetime(2000, 1, 1, tzinfo=UTC)} for row in ids[:count]]
        save_rows(case.layout.table("holdout_reads", reader), "holdout_reads", then, {})

    read(len(ids) - 10, "first")
    counted = f"{len(ids) - 10} of {len(ids)} in the holdout were read by 1 earlier repair"
    assert findings(case, "holdout") == [(f"{counted} and do not count: the other 10 decide", True)]
    read(len(ids) - 9, "second")
    [(says, fine)] = findings(case, "holdout")
    assert says.startswith(
        f"{len(ids) - 9} of {len(ids)} in the holdout were read by 2 earlier repairs, so at best recomm"
    )
    assert not fine
    assert findings(with_weights(tmp_path, gate=None), "holdout") == []  # a study, in which nothing is accepted


def known(case):
    """The case's data, what its model predicts of the test rows and whether it is right, apart from ``preflight``."""
    data = case.source_dataset(numpy_stream(case.spec.seed, "dataset"))
    data = corrupt(data, None, case.spec.validation_fraction, numpy_stream(case.spec.seed, "corruption"))
    predicted = data.test.inputs.argmax(dim=1)
    return data, predicted, predicted == data.test.labels


def test_the_applied_patch_of_another_case_is_a_warning_for_weights_that_may_be_older(tmp_path):
    case = with_weights(tmp_path)
    assert findings(case, "patch") == []
    kept = "train.parquet.before-sibling"
    (tmp_path / kept).touch()
    replaced = {"file": "train.parquet", "kept": kept, "before": "", "after": ""}
    applied = {"applied": [{"patch": "sibling", "files": [replaced]}]}
    record_path(tmp_path / "train.parquet").write_text(json.dumps(applied))
    [(says, fine)] = findings(case, "patch")
    assert "train.parquet has the patch of sibling applied, and" in says
    assert says.endswith("repair patch revert sibling")
    assert not fine
    trained = case_at(tmp_path / "home", replace(case.spec, model=UserModel(f"{__name__}:line")))
    assert applied_patch_of_another(trained) is None
    assert applied_patch_of_another(case_at(tmp_path / "home", replace(case.spec, patches=("sibling",)))) is None
