"""The example: what is wrong in it is what it says, and it overwrites nothing."""

import pandas as pd
import pytest
from sklearn.datasets import load_digits

from repair_pipeline.cases.resolve import load_spec
from repair_pipeline.cli.demo import CASE, prepare
from repair_pipeline.errors import InputError


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    prepare(folder)
    return folder


def digit(rows):
    return load_digits().target[rows["row"].str[1:].astype(int)]


def test_only_annotator_b_is_wrong_and_only_where_it_is_said(example):
    train = pd.read_parquet(example / "train.parquet")
    wrong = train[train.label != digit(train)]
    assert set(wrong.annotator) == {"B"}
    assert set(zip(digit(wrong), wrong.label, strict=True)) == {(1, 7), (4, 9), (3, 8)}
    doubtful = train[(train.annotator == "B") & pd.Series(digit(train), index=train.index).isin([1, 4, 3])]
    assert len(wrong) / len(doubtful) == pytest.approx(0.6, abs=0.02)


def test_test_labels_are_right_and_no_row_is_in_both(example):
    train, test = (pd.read_parquet(example / f"{name}.parquet") for name in ("train", "test"))
    assert (test.label == digit(test)).all()
    assert not set(train.row) & set(test.row)
    assert len(train) + len(test) == 1797


def test_the_case_file_is_an_owners_and_does_not_name_the_truth(example):
    spec = load_spec(str(example / CASE))
    assert (spec.dataset.train, spec.model.weights, spec.name) == ("train.parquet", "model.safetensors", "demo")
    assert spec.gate is not None
    assert "truth" not in (example / CASE).read_text()


def test_the_case_trains_as_the_script_does(example):
    training, script = load_spec(str(example / CASE)).training, (example / "prepare.py").read_text()
    assert f"range({training.epochs})" in script
    assert f"lr={training.learning_rate}" in script
    assert training.batch_size >= len(pd.read_parquet(example / "train.parquet"))  # every step on all rows


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "train.csv").write_text("mine")
    with pytest.raises(InputError, match=r"train\.csv"):
        prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]
