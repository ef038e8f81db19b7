"""Tags of tokens from their owner's tables to verdict and patch: a word whose tag an annotator mistook."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch import nn

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline.pipeline.review import review_sheet
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import load_scores
from repair_pipeline.training.fit import predictions
from repair_pipeline_tests.oracles import auc
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import ask, run

WORDS, MISTAKEN = 30, 1
TRUE = np.array(["A", "A", "A", "A", "A", *["B"] * 5, *["O"] * (WORDS - 10)])


class Tagger(nn.Sequential):
    """The tag of a word by the word alone."""

    def __init__(self):
        super().__init__(nn.Embedding(WORDS, 16), nn.Linear(16, 3))


def sentences(count, mistaken, rng):
    """Five words each, of which one or two have a tag that is not O."""
    ids = np.where(
        rng.random((count, 5)) < 0.35, rng.integers(10, size=(count, 5)), rng.integers(10, WORDS, (count, 5))
    )
    wrong = (ids == MISTAKEN) & (rng.random((count, 5)) < mistaken)
    tags = np.where(wrong, "B", TRUE[ids])
    return pa.table({"ids": list(ids), "tags": tags.tolist(), "wrong": wrong.any(axis=1), "number": np.arange(count)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made, rng = tmp_path_factory.mktemp("tags"), np.random.default_rng(0)
    for name, count, mistaken in (("train", 600, 0.55), ("test", 500, 0.0)):
        pq.write_table(sentences(count, mistaken, rng), made / f"{name}.parquet")
    return made


@pytest.fixture(scope="module")
def case(folder, tmp_path_factory):
    fields = {
        "name": "tags",
        "dataset": {
            "train": str(folder / "train.parquet"),
            "test": str(folder / "test.parquet"),
            "label": "tags",
            "features": ["ids"],
            "metadata": ["wrong"],
        },
        "model": {"factory": f"{__name__}:Tagger"},
        "likelihood": "token_classification",
        "training": {"epochs": 20, "optimiser": "adamw", "learning_rate": 0.01, "batch_size": 64},
        "influence": {"ewc": {}, "random": {}},
        "treat": ["ewc"],
        "causes": {"fdr": 0.1},
        "treatments": {"base": {}, "correct": {}},
        "gate": {"controls": 3},
    }
    made = case_at(tmp_path_factory.mktemp("home"), parse_spec(fields))
    assert run(made).failed == {}
    return made


def wrong_rows(case):
    return {row["example_id"] for row in ask(case, "SELECT example_id FROM examples WHERE wrong AND split = 'fit'")}


def test_the_rows_with_wrong_tags_rank_first(case):
    fit = case.data.fit.examples
    scores = load_scores(case.first_view.influence_path("ewc"), fit)
    assert auc(scores.values.numpy(), np.isin(fit.ids, sorted(wrong_rows(case)))) > 0.95


def test_failures_are_rows_with_a_wrong_tag_and_the_share_of_right_tokens_stands_beside_them(case):
    test = case.data.test
    said = predictions(case.model(case.base_model_path), test)
    failed = set(test.ids[(said != test.labels).any(dim=1).numpy()])
    rows = ask(case, "SELECT example_id, label_text FROM examples WHERE split LIKE 'query%' OR split = 'holdout'")
    assert {row["example_id"] for row in rows} == failed
    assert all(row["label_text"].split().count("A") >= 1 for row in rows)
    (base,) = ask(case, "SELECT * FROM recovery WHERE treatment = 'base'")
    holdout = case.first_view.partition.holdout
    at = test.having(frozenset(holdout.ids.tolist()))
    assert base["measure"] == "token_accuracy"
    assert base["holdout_measure"] == pytest.approx((said == test.labels)[at].double().mean().item())


def test_training_with_corrected_tags_brings_the_mistaken_word_back(case):
    (row,) = ask(case, "SELECT * FROM recovery WHERE treatment = 'correct' AND influence_method = 'ewc'")
    (base,) = ask(case, "SELECT * FROM recovery WHERE treatment = 'base'")
    assert row["holdout_accuracy"] > 0.9
    assert row["unseen_measure"] > base["unseen_measure"] + 0.02


def test_the_patch_drops_rows_and_corrects_others(case):
    patch = read_parquet(case.layout.table("patch", case.id))[0]
    actions = {row["example_id"]: row for row in patch.to_pylist()}
    changed = {name for name, row in actions.items() if row["action"] != "keep"}
    assert len(changed & wrong_rows(case)) > 0.8 * len(changed)
    corrected = {name: row["suggested_label"] for name, row in actions.items() if row["action"] == "relabel"}
    assert len(corrected) > 20
    rows = case.data.fit.examples
    true = dict(zip(rows.ids.tolist(), (" ".join(TRUE[ids]) for ids in rows.inputs.long().numpy()), strict=True))
    assert np.mean([true[name] == label for name, label in corrected.items()]) > 0.9


def test_check_and_review_tell_what_tags_are(case):
    found = [(finding.name, finding.says) for finding in preflight(case)]
    assert ("likelihood", "a class for each token, right if all are") in found
    assert ("labels", "a class for each of up to 5 tokens, on average 5.0") in found
    with pytest.raises(InputError, match=r"repair review needs classes, but the labels of .* are one for each token"):
        review_sheet(case)
