"""BANKING77: labels, texts and features of sentences."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from repair_pipeline.datasets.banking77 import banking77, encoded
from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import data_dir

RNG = np.random.default_rng
TRAIN = [
    ("where is my card", "card_arrival"),
    ("my card, where is it?", "card_arrival"),
    ("why was the transfer declined", "declined_transfer"),
    ("declined, the transfer, why", "declined_transfer"),
    ("top up by card failed", "top_up_failed"),
    ("the top up failed", "top_up_failed"),
]
TEST = [("is my card here", "card_arrival"), ("the top up failed", "top_up_failed")]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "banking77").mkdir()
    for split, rows in (("train", TRAIN), ("test", TEST)):
        lines = ["text,category", *(f'"{text}",{category}' for text, category in rows)]
        (tmp_path / "banking77" / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_labels_and_texts_are_those_of_the_row(folder):
    data = banking77(4, RNG(0), folder)
    assert data.classes == ("card_arrival", "declined_transfer", "top_up_failed")
    metadata = dict(zip(*(data.metadata[name].to_pylist() for name in ("example_id", "text")), strict=True))
    assert list(metadata) == [*data.train.ids.tolist(), *data.test.ids.tolist()]
    for rows, source in ((data.train, TRAIN), (data.test, TEST)):
        pairs = [(metadata[name], data.classes[y]) for name, y in zip(rows.ids.tolist(), rows.labels, strict=True)]
        assert set(pairs) <= set(source)
    assert len(data.train) == 4
    assert len(set(metadata)) == 6


def test_a_row_has_the_features_of_its_text_whichever_rows_are_drawn(folder):
    everything, some = banking77(6, RNG(0), folder), banking77(3, RNG(5), folder)
    vector = {name.split("-")[0]: x for name, x in zip(everything.train.ids, everything.train.inputs, strict=True)}
    for name, x in zip(some.train.ids, some.train.inputs, strict=True):
        assert torch.equal(vector[name.split("-")[0]], x)
    assert torch.equal(everything.test.inputs, some.test.inputs)


def test_test_rows_whose_text_is_a_training_row_are_named(folder):
    data = banking77(6, RNG(0), folder)
    assert data.also_in_training == {data.test.ids[1]}


def test_features_have_unit_scale_and_similar_texts_are_near():
    texts = [text for text, _ in TRAIN]
    train, test = encoded(texts, ["where is the card", "xyzzy"])
    d = train.shape[1]
    assert torch.allclose(train.square().mean(dim=1), torch.ones(6))
    cosine = train @ test[0] / d
    assert set(cosine.topk(2).indices.tolist()) == {0, 1}
    assert test[1].tolist() == [0.0] * d
    again = encoded(texts, ["where is the card"])
    assert torch.equal(again[0], train)


def test_test_texts_do_not_move_the_encoder():
    texts = [text for text, _ in TRAIN]
    assert torch.equal(encoded(texts, ["where is the card"])[0], encoded(texts, texts[:5])[0])


@pytest.mark.parametrize("size", [1, 7])
def test_a_size_out_of_range_is_refused(folder, size):
    with pytest.raises(InputError, match=rf"train_size is {size}: BANKING77 allows 2 to 6 training rows"):
        banking77(size, RNG(0), folder)


def test_missing_files_and_columns_are_named(folder, tmp_path):
    (folder / "banking77" / "test.csv").write_text("text,intent\nhello,x\n")
    with pytest.raises(InputError, match=r"test\.csv has no column 'category'"):
        banking77(4, RNG(0), folder)
    (folder / "banking77" / "test.csv").unlink()
    with pytest.raises(InputError, match="REPAIR_DATA_DIR"):
        banking77(4, RNG(0), folder)


@pytest.mark.skipif(not (data_dir() / "banking77" / "train.csv").is_file(), reason="no banking77 in REPAIR_DATA_DIR")
def test_the_real_rows_are_all_read_and_their_features_tell_the_intents_apart():
    data = banking77(10_003, RNG(0), data_dir())
    assert (len(data.train), len(data.test), len(data.classes)) == (10_003, 3080, 77)
    assert data.train.shape == (300,)
    assert data.test.labels.bincount().tolist() == [40] * 77
    probe = LogisticRegression(max_iter=50).fit(data.train.inputs.numpy(), data.train.labels.numpy())
    assert probe.score(data.test.inputs.numpy(), data.test.labels.numpy()) > 0.85
