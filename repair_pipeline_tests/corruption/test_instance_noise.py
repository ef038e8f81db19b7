"""Label noise made of the mistakes of weak models, planted in a data set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from repair_pipeline.cases.build import build_corruption, load_dataset
from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.corruption.instance_noise import InstanceNoise, wrong_answers
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset
from repair_pipeline_tests.problems import blobs

COUNT = 203


def nearest_mean(rows, others):
    """Logits of a classifier by the nearest class mean of the rows it was made from."""
    means = torch.stack([rows.inputs[rows.labels == label].mean(dim=0) for label in range(3)])
    # Sharp, so that the label that is drawn is the nearest class or, if that is the true one, the second nearest.
    return -1000 * torch.cdist(others.inputs, means).square()


def dataset(count=COUNT):
    return Dataset(blobs(count, seed=1), blobs(20, seed=2), tuple("012"), torch.zeros(4))


def planted(rate, seed=0, annotators=4, trained=None, count=COUNT):
    """The corrupted data; ``trained`` collects the rows of each annotator by its number."""

    def annotate(rows, others, which):
        if trained is not None:
            trained[which] = rows
        return nearest_mean(rows, others)

    return corrupt(dataset(count), InstanceNoise(rate, annotators, annotate), 0.1, np.random.default_rng(seed))


def answers(data, trained):
    """An oracle in NumPy: for each part of the data, the distances of its rows to their annotator's class means."""
    means = {
        which: np.stack([rows.inputs[rows.labels == label].numpy().mean(axis=0) for label in range(3)])
        for which, rows in trained.items()
    }
    # A row of part k + 1 is labelled by the annotator that was trained on part k.
    annotator = {row: (which - 1) % len(trained) for which, rows in trained.items() for row in rows.ids.tolist()}
    return [
        np.stack(
            [
                np.linalg.norm(means[annotator[row]] - x.numpy(), axis=1)
                for row, x in zip(part.examples.ids.tolist(), part.examples.inputs, strict=True)
            ]
        )
        for part in (data.fit, data.validation)
    ]


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 50), st.integers(2, 6))
def test_round_of_rate_times_n_rows_are_corrupted_and_each_label_is_wrong(rate, seed, annotators):
    data = planted(rate, seed, annotators)
    fit, validation = data.fit, data.validation
    assert int(fit.corrupted.sum()) == round(rate * len(fit.examples))
    assert int(fit.corrupted.sum() + validation.corrupted.sum()) == round(rate * COUNT)
    for rows in (fit, validation):
        assert torch.equal(rows.corrupted, rows.examples.labels != rows.clean_labels)


def test_annotators_share_the_rows_out_and_learn_true_labels():
    trained = {}
    planted(0.3, trained=trained)
    clean = dataset().train
    ids = np.concatenate([rows.ids for rows in trained.values()])
    assert sorted(ids.tolist()) == sorted(clean.ids.tolist())
    assert sorted(trained) == [0, 1, 2, 3]
    assert sorted(len(rows) for rows in trained.values()) == [50, 51, 51, 51]
    label_of = dict(zip(clean.ids.tolist(), clean.labels.tolist(), strict=True))
    for rows in trained.values():
        assert [label_of[row] for row in rows.ids.tolist()] == rows.labels.tolist()


def test_no_annotator_labels_a_row_that_it_was_trained_on_and_each_row_is_labelled_once():
    labelled = []

    def annotate(rows, others, which):
        assert not set(rows.ids) & set(others.ids)
        labelled.extend(others.ids.tolist())
        return nearest_mean(rows, others)

    corrupt(dataset(), InstanceNoise(0.3, 4, annotate), 0.1, np.random.default_rng(0))
    assert sorted(labelled) == sorted(dataset().train.ids.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_label_is_the_mistake_of_the_rows_own_annotator(seed):
    trained = {}
    data = planted(0.15, seed, trained=trained)
    for rows, distances in zip((data.fit, data.validation), answers(data, trained), strict=True):
        mistaken = distances.argmin(axis=1) != rows.clean_labels.numpy()
        assert mistaken.sum() > rows.corrupted.sum() > 0
        assert mistaken[rows.corrupted.numpy()].all()
        assert (
            rows.examples.labels[rows.corrupted].tolist() == distances.argmin(axis=1)[rows.corrupted.numpy()].tolist()
        )


def test_rows_and_labels_are_drawn_by_the_annotators_probabilities():
    # One class in truth, so that every other label is wrong; half of the rows are three times as doubtful.
    count = 8000
    rows = blobs(count, seed=1)
    clean = Dataset(
        replace(rows, labels=torch.zeros(count, dtype=torch.long)), blobs(20, seed=2), tuple("012"), torch.zeros(4)
    )
    doubtful = dict(zip(clean.train.ids.tolist(), (np.arange(count) % 2 == 0).tolist(), strict=True))
    easy, hard = torch.tensor([0.9, 0.02, 0.08]).log(), torch.tensor([0.7, 0.2, 0.1]).log()

    def annotate(rows, others, which):
        return torch.stack([hard if doubtful[row] else easy for row in others.ids.tolist()])

    data = corrupt(clean, InstanceNoise(0.02, 2, annotate), 0.1, np.random.default_rng(0)).fit
    is_hard = torch.tensor([doubtful[row] for row in data.examples.ids.tolist()])
    wrong = data.examples.labels[data.corrupted & is_hard], data.examples.labels[data.corrupted & ~is_hard]
    assert len(wrong[0]) / (len(wrong[0]) + len(wrong[1])) == pytest.approx(0.75, abs=0.1)
    assert (wrong[0] == 1).double().mean().item() == pytest.approx(2 / 3, abs=0.12)
    assert (wrong[1] == 1).double().mean().item() == pytest.approx(0.2, abs=0.15)


def test_rows_of_one_class_get_different_labels_by_their_inputs():
    data = planted(0.4, count=600).fit
    by_class = [data.examples.labels[data.corrupted & (data.clean_labels == label)].unique() for label in range(3)]
    assert any(len(given) == 2 for given in by_class)
    # A permutation of the labels within each class would break this: wrong labels are those of nearer centres.
    means = torch.stack([data.examples.inputs[data.clean_labels == label].mean(dim=0) for label in range(3)])
    distances = torch.cdist(data.examples.inputs, means)[data.corrupted]
    given, clean = data.examples.labels[data.corrupted], data.clean_labels[data.corrupted]
    third = 3 - given - clean
    assert (distances.gather(1, given[:, None]) < distances.gather(1, third[:, None])).double().mean() > 0.9


def test_the_seed_decides_and_more_noise_keeps_the_rows_of_less():
    once, again, other = (planted(0.2, seed).fit for seed in (0, 0, 1))
    assert torch.equal(once.examples.labels, again.examples.labels)
    assert once.corrupted_ids != other.corrupted_ids
    assert once.corrupted_ids < planted(0.4).fit.corrupted_ids


def test_the_clean_data_are_left_alone():
    clean = dataset()
    before = clean.train.labels.clone()
    data = corrupt(clean, InstanceNoise(0.4, 4, lambda *given: nearest_mean(*given[:2])), 0.1, np.random.default_rng(0))
    assert torch.equal(clean.train.labels, before)
    at = torch.from_numpy(np.searchsorted(clean.train.ids, data.fit.examples.ids))
    assert torch.equal(clean.train.inputs[at], data.fit.examples.inputs)
    assert torch.equal(clean.train.labels[at], data.fit.clean_labels)


def test_a_wrong_answer_is_the_likeliest_other_class():
    outputs = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [-9.0, -8.0, -7.0]])
    assert wrong_answers(outputs, torch.tensor([0, 2, 2])).tolist() == [2, 0, 1]


def test_more_annotators_than_rows_are_refused():
    with pytest.raises(InputError, match="annotators is 400, but there are 203 training rows"):
        planted(0.3, annotators=400)


def test_a_case_trains_its_own_annotators_and_its_seed_decides():
    fields = {"name": "noisy", "dataset": {"name": "digits", "train_size": 200}, "model": {"name": "mlp"}}

    def given(seed):
        spec = parse_spec({**fields, "seed": seed, "corruption": {"kind": "instance_noise", "rate": 0.2}})
        data = load_dataset(spec, None, np.random.default_rng(0))
        noise = build_corruption(spec, len(data.classes), torch.device("cpu"))
        assert noise.annotate(data.train[:40], data.train[40:43], 0).shape == (3, 10)
        return corrupt(data, noise, 0.1, np.random.default_rng(0)).fit.examples.labels

    assert torch.equal(given(0), given(0))
    assert not torch.equal(given(0), given(1))
