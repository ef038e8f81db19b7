"""Stable ids."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.datasets.ids import content_ids
from repair_pipeline.datasets.images import image_dataset

rows = st.lists(st.integers(0, 3), min_size=1, max_size=12)


def images(values):
    return np.array(values, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2), dtype=np.uint8)


@given(rows)
def test_ids_never_repeat_and_duplicates_are_counted(values):
    ids = content_ids(images(values))
    assert len(set(ids)) == len(values)
    for at, value in enumerate(values):
        digest, occurrence = ids[at].split("-")
        assert int(occurrence) == values[:at].count(value)
        assert [other.startswith(digest) for other in ids] == [other == value for other in values]


@given(rows)
def test_rows_that_come_later_change_no_id(values):
    assert content_ids(images(values)).tolist() == content_ids(images([*values, 0, 1]))[: len(values)].tolist()


def test_an_id_is_a_hash_of_the_bytes_that_never_changes():
    assert content_ids(np.array([[0, 1], [2, 3]], dtype=np.uint8)).tolist() == [
        "fb34657ab5e1f0e4-0",
        "372a12de8bab3e8d-0",
    ]


def test_labels_play_no_part():
    pixels, split = images([0, 1, 1, 2, 3, 3]), np.arange(6)
    labels = np.array([0, 1, 0, 1, 0, 1])
    one, other = (image_dataset(pixels, y, white=3.0, train=split[:4], test=split[4:]) for y in (labels, 1 - labels))
    assert one.train.ids.tolist() == other.train.ids.tolist()
    assert one.test.ids.tolist() == other.test.ids.tolist()


def test_an_id_goes_with_its_row_into_any_split():
    pixels, order = images([0, 1, 1, 2, 3, 3]), np.array([5, 0, 2, 3, 1, 4])
    dataset = image_dataset(pixels, np.arange(6) % 2, white=3.0, train=order[:4], test=order[4:])
    ids = content_ids(pixels)
    assert dataset.train.ids.tolist() == ids[order[:4]].tolist()
    assert dataset.test.ids.tolist() == ids[order[4:]].tolist()
    some = dataset.train[torch.tensor([2, 0])]
    assert some.ids.tolist() == ids[order[[2, 0]]].tolist()
