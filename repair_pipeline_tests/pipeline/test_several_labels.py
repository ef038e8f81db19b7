"""Sets of classes from their owner's tables to verdict and patch: two digits an image, and 7s that were left out."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from torch import nn

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.evaluation import grid
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline.pipeline.review import review_sheet
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import load_scores
from repair_pipeline.training.fit import predictions
from repair_pipeline_tests.oracles import auc
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import ask, run


class Pair(nn.Module):
    """The larger of the logits that a network gives for each half."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.one(x.unflatten(1, (2, 64))).amax(dim=1)


def pairs(images, digits, count, mistaken, rng):
    chosen = rng.integers(len(digits), size=(count, 2))
    true = [sorted({int(digits[a]), int(digits[b])}) for a, b in chosen]
    wrong = [7 in each and len(each) > 1 and rng.random() < mistaken for each in true]
    given = [[str(digit) for digit in each if not (bad and digit == 7)] for each, bad in zip(true, wrong, strict=True)]
    pixels = np.concatenate([images[chosen[:, 0]], images[chosen[:, 1]]], axis=1) / 16
    return pa.table({"pixels": pa.array(list(pixels.astype(np.float32))), "digits": given, "wrong": wrong})


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    images, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    for name, rows, count, mistaken in (("train", order[:1000], 1200, 0.9), ("test", order[1000:], 400, 0.0)):
        pq.write_table(pairs(images[rows], digits[rows], count, mistaken, rng), folder / f"{name}.parquet")
    fields = {
        "name": "sets",
        "dataset": {
            "train": str(folder / "train.parquet"),
            "test": str(folder / "test.parquet"),
            "label": "digits",
            "features": ["pixels"],
            "metadata": ["wrong"],
        },
        "model": {"factory": f"{__name__}:Pair"},
        "likelihood": "multi_label",
        "training": {"epochs": 30, "optimiser": "adamw", "learning_rate": 0.005, "batch_size": 64},
        "influence": {"ewc": {}, "random": {}},
        "causes": {"fraction": 0.15},
        "treatments": {"base": {}, "retrain": {}},
        "gate": {"controls": 3},
    }
    made = case_at(tmp_path_factory.mktemp("home"), parse_spec(fields))
    assert run(made).failed == {}
    return made


def test_the_rows_without_their_7_rank_first_and_are_dropped(case):
    wrong = {row["example_id"] for row in ask(case, "SELECT example_id FROM examples WHERE wrong AND split = 'fit'")}
    fit = case.data.fit.examples
    mask = np.isin(fit.ids, sorted(wrong))
    scores = load_scores(case.first_view.influence_path("ewc"), fit)
    assert auc(scores.values.numpy(), mask) > 0.9
    patch = read_parquet(case.layout.table("patch", case.id))[0].to_pylist()
    dropped = {row["example_id"] for row in patch if row["action"] == "drop"}
    assert {row["action"] for row in patch} <= {"drop", "keep"}
    assert len(dropped & wrong) > 0.6 * len(dropped) > 0


def test_failures_are_sets_with_a_wrong_class_and_f1_stands_beside_them(case):
    test = case.data.test
    said = predictions(case.model(case.base_model_path), test)
    failed = set(test.ids[(said != test.labels).any(dim=1).numpy()])
    rows = ask(
        case, "SELECT example_id, label, label_text FROM examples WHERE split LIKE 'query%' OR split = 'holdout'"
    )
    assert {row["example_id"] for row in rows} == failed
    assert {row["label"] for row in rows} == {None}
    assert any(row["label_text"].startswith("7|") or row["label_text"].endswith("|7") for row in rows)
    (base,) = ask(case, "SELECT * FROM recovery WHERE treatment = 'base'")
    assert (base["measure"], base["remaining_measure"]) == ("f1", 1.0)
    holdout = case.first_view.partition.holdout
    at = test.having(frozenset(holdout.ids.tolist()))
    assert base["holdout_measure"] == pytest.approx(f1_score(test.labels[at], said[at], average="micro"))


def test_a_repair_brings_the_7s_back_and_removing_random_rows_does_not(case):
    view, test = case.first_view, case.data.test
    beside = test.labels[:, 7] & (test.labels.sum(dim=1) > 1)
    marked = {
        variant.influence_method: predictions(case.model(view.model_path(variant)), test[beside])[:, 7].double().mean()
        for variant in grid(case)
        if variant.treatment == "retrain"
    }
    assert marked["ewc"] > marked["random"] + 0.2
    rows = ask(case, "SELECT * FROM recovery WHERE treatment = 'retrain'")
    f1 = {row["influence_method"]: row["unseen_measure"] for row in rows}
    assert f1["ewc"] > f1["random"]


def test_check_and_review_tell_what_sets_are(case):
    found = {finding.name: finding.says for finding in preflight(case)}
    assert found["likelihood"].startswith("a set of classes, an output each")
    assert "7 = 7 (" in found["labels"]
    with pytest.raises(InputError, match=r"repair review needs classes, but the labels of .* are sets of them"):
        review_sheet(case)
