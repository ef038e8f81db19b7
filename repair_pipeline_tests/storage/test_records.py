"""Data sets, partitions and scores are loaded as they were saved."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.corruption.label_noise import LabelNoise
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.records import (
    fingerprint,
    load_dataset,
    load_partition,
    load_scores,
    save_dataset,
    save_partition,
    save_rows,
    save_scores,
)
from repair_pipeline.types import Dataset, Examples, InfluenceScores
from repair_pipeline_tests.evaluation.test_partition import split


def images(count, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 3, 5, generator=generator)
    ids = np.array([f"{'long-' * (at % 3)}s{seed}-{at}" for at in range(count)])
    return Examples(ids, inputs, torch.arange(count) % 3)


@pytest.fixture
def data():
    mean = torch.tensor([1 / 3, 0.1])
    dataset = Dataset(images(40, seed=1), images(17, seed=2), ("ant", "bee", "cat"), mean)
    return corrupt(dataset, LabelNoise(0.4, {0: {1: 1.0}}), 0.2, np.random.default_rng(0))


def assert_equal(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    assert torch.equal(one.inputs, other.inputs)
    assert one.inputs.dtype == other.inputs.dtype
    assert torch.equal(one.labels, other.labels)


def test_a_dataset_comes_back_bit_for_bit(tmp_path, data):
    save_dataset(tmp_path / "dataset.parquet", data, lambda: {"seconds": 1.0})
    loaded = load_dataset(tmp_path / "dataset.parquet")
    for rows, others in ((loaded.fit, data.fit), (loaded.validation, data.validation)):
        assert_equal(rows.examples, others.examples)
        assert torch.equal(rows.clean_labels, others.clean_labels)
        assert torch.equal(rows.corrupted, others.corrupted)
    assert data.fit.corrupted.any()
    assert_equal(loaded.test, data.test)
    assert loaded.classes == data.classes
    assert torch.equal(loaded.mean, data.mean)
    assert fingerprint(loaded) == fingerprint(data)
    # Mapped, not read: a change of the file shows in what was loaded before it.
    mapped = np.load(tmp_path / "inputs.npy", mmap_mode="r+")
    mapped[0] += 1
    mapped.flush()
    assert torch.equal(loaded.fit.examples[:1].inputs, data.fit.examples[:1].inputs + 1)


def test_channels_last_images_come_back(tmp_path, data):
    def channels_last(examples):
        return replace(examples, source=examples.inputs.to(memory_format=torch.channels_last), rows=None)

    fit = replace(data.fit, examples=channels_last(data.fit.examples))
    validation = replace(data.validation, examples=channels_last(data.validation.examples))
    converted = replace(data, fit=fit, validation=validation, test=channels_last(data.test))
    save_dataset(tmp_path / "dataset.parquet", converted, dict)
    assert_equal(load_dataset(tmp_path / "dataset.parquet").test, data.test)


def test_the_fingerprint_depends_on_ids_parts_and_given_labels(data):
    def changed(**fields):
        return type(data)(**{**vars(data), **fields})

    relabelled = Examples(data.test.ids, data.test.inputs, (data.test.labels + 1) % 3)
    renamed = Examples(np.char.add(data.test.ids, "x"), data.test.inputs, data.test.labels)
    fingerprints = [
        fingerprint(data),
        fingerprint(changed(test=relabelled)),
        fingerprint(changed(test=renamed)),
        fingerprint(changed(fit=data.validation, validation=data.fit)),
    ]
    assert len(set(fingerprints)) == 4
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in fingerprints)
    assert fingerprint(changed(mean=data.mean + 1)) == fingerprints[0]


@pytest.mark.parametrize("query_fraction", [1.0, 0.4])
def test_a_partition_comes_back_row_by_row(tmp_path, data, query_fraction):
    parts = split(query_fraction=query_fraction)
    test = Examples.concat(list(parts.parts().values()))
    order = torch.from_numpy(np.argsort(test.ids))
    path = tmp_path / "case_id=x" / "examples.parquet"
    save_partition(path, data, {"all": parts}, {})
    loaded = load_partition(path, test[order])
    for name, part in parts.parts().items():
        assert_equal(loaded.parts()[name], part[torch.from_numpy(np.argsort(part.ids))])


def test_every_example_has_exactly_one_of_the_contracts_splits(tmp_path, data):
    parts = split(query_fraction=0.4)
    save_partition(tmp_path / "case_id=x" / "examples.parquet", data, {"all": parts}, {})
    table = read_parquet(tmp_path / "case_id=x" / "examples.parquet")[0].to_pylist()
    assert len({row["example_id"] for row in table}) == len(table) == 40 + 100
    sizes = {name: len(part) for name, part in parts.parts().items()}
    sizes["query"] += sizes.pop("unused_query")
    sizes |= {"fit": len(data.fit.examples), "validation": len(data.validation.examples)}
    assert {name: sum(row["split"] == name for row in table) for name in sizes} == sizes
    assert sum(sizes.values()) == len(table)


def test_the_examples_table_tells_what_was_planted(tmp_path, data):
    save_partition(tmp_path / "case_id=x" / "examples.parquet", data, {"all": split()}, {})
    table = read_parquet(tmp_path / "case_id=x" / "examples.parquet")[0].to_pylist()
    planted = {row["example_id"] for row in table if row["corrupted"]}
    assert planted == data.fit.corrupted_ids | data.validation.corrupted_ids
    assert all(row["label_changed"] == (row["label"] != row["clean_label"]) == row["corrupted"] for row in table)


def test_scores_come_back_in_the_order_of_the_rows(tmp_path):
    rows = images(6, seed=3)
    values = torch.tensor([0.1, -1 / 3, 5e-324, 1e300, -0.0, 0.1], dtype=torch.float64)
    path = tmp_path / "case_id=x" / "method=ewc" / "influence.parquet"
    save_scores(path, InfluenceScores(rows.ids, values, notes={"guard_tau": 0.25}), {"seconds": 1.0})
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    loaded = load_scores(path, rows[order])
    assert loaded.ids.tolist() == rows[order].ids.tolist()
    assert torch.equal(loaded.values, values[order])


def test_the_influence_table_is_ranked_and_says_its_sign_and_unit(tmp_path):
    ids = np.array(["c", "a", "b"])
    path = tmp_path / "case_id=x" / "method=ewc" / "influence.parquet"
    scores = InfluenceScores(ids, torch.tensor([0.5, 0.5, 2.0], dtype=torch.float64), notes={"guard_tau": 0.25})
    save_scores(path, scores, {"seconds": 1.0})
    table, notes = read_parquet(path)
    ranked = [(row["rank"], row["example_id"], row["influence"]) for row in table.to_pylist()]
    assert ranked == [(1, "b", 2.0), (2, "a", 0.5), (3, "c", 0.5)]
    assert set(table["failure_group"].to_pylist()) == {"all"}
    assert notes["sign"] == "positive is harmful"
    assert notes["unit"].startswith("nats")
    assert (notes["guard_tau"], notes["seconds"]) == (0.25, 1.0)


def test_scores_of_rows_that_are_not_in_the_table_raise(tmp_path):
    rows = images(3, seed=3)
    path = tmp_path / "case_id=x" / "method=ewc" / "influence.parquet"
    save_scores(path, InfluenceScores(rows.ids, torch.zeros(3, dtype=torch.float64)), {})
    with pytest.raises(KeyError):
        load_scores(path, images(4, seed=3))


def test_columns_in_the_path_are_not_written(tmp_path):
    row = {"failure_group": "all", "example_id": "a", "influence": 1.0, "rank": 1, "probability": 0.5}
    save_rows(tmp_path / "case_id=x" / "method=ewc" / "influence.parquet", "influence", [row], {})
    table, _ = read_parquet(tmp_path / "case_id=x" / "method=ewc" / "influence.parquet")
    assert table.to_pylist() == [row]
