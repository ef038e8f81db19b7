"""The ways that a repair is compared with, against their definitions on a small network."""

import json
from dataclasses import replace

import pytest
import torch

from repair_pipeline.cases.presets import preset
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.pipeline.case import Case
from repair_pipeline.problem.cross_fit import clean_rows, cross_fit
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.comparison import WAYS, AnewWithCleanRows, CleanRowsAlone, Comparison, OnLine, Uncalibrated
from repair_pipeline.studies.real_data import RealData
from repair_pipeline.types import Causes


class Noted:
    """A training that notes what it is given, and returns the model one step further."""

    def __init__(self):
        self.calls = []

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        self.calls.append((train, validation, start, targets))
        further = Classifier(model)
        return further.module(further.theta_hat + len(self.calls)).eval()


@pytest.fixture
def noted(task):
    return replace(task, training=Noted())


def moved(task, model):
    """How far a model has moved from θ̂, the same for every parameter."""
    steps = Classifier(model).theta_hat - task.theta_hat
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))
    return steps[0].item()


def test_on_failures_and_guard_alone_no_row_of_d_is_read(noted):
    CleanRowsAlone().repaired(noted, Causes(()))
    ((train, _, start, _),) = noted.training.calls
    assert start == "trained"
    assert list(train.ids) == list(clean_rows(noted).ids)
    assert not set(train.ids) & set(noted.fit.ids)


def test_failures_and_guard_are_added_to_what_is_not_dropped(noted):
    causes = Causes(tuple(noted.fit.ids[:50]))
    AnewWithCleanRows().repaired(noted, causes)
    ((train, validation, start, targets),) = noted.training.calls
    assert (start, targets) == ("new", None)
    assert set(train.ids) == set(noted.fit.ids[50:]) | set(clean_rows(noted).ids)
    assert set(validation.ids) == set(noted.validation.ids)


def test_the_average_is_of_models_all_trained_from_the_same_start(noted):
    assert moved(noted, OnLine(1, interpolated=False).repaired(noted, Causes(()))) == pytest.approx(1)
    noted.training.calls.clear()
    assert moved(noted, OnLine(3, interpolated=False).repaired(noted, Causes(()))) == pytest.approx((1 + 2 + 3) / 3)
    assert {start for _, _, start, _ in noted.training.calls} == {"trained"}


def test_interpolation_returns_a_point_on_the_line_that_keeps_the_guard(noted):
    assert 0 <= moved(noted, OnLine(1, interpolated=True).repaired(noted, Causes(()))) < 1


class Untrained:
    """A training that leaves the model as it is."""

    def fit(self, model, train, validation, generator, *, start, targets=None, progress=None):
        return model.eval()


def test_uncalibrated_labels_are_the_predictions_out_of_fold(noted):
    predicted = cross_fit(replace(noted, training=Untrained()))
    task = replace(noted, stored_out_of_fold=lambda: predicted)
    Uncalibrated().repaired(task, Causes(tuple(task.fit.ids[:50])))
    ((train, _, _, targets),) = task.training.calls
    torch.testing.assert_close(targets[:50], predicted.fit[:50].float())
    assert torch.equal(targets[50:].argmax(dim=1), train.labels[50:])
    assert targets[50:].max(dim=1).values.eq(1).all()


def test_the_table_has_a_row_for_every_way_in_their_order(tmp_path):
    study, layout = RealData(families=("digits-label_noise",), seeds=(0, 1)), Layout(tmp_path)
    names = [way.name for way in WAYS]
    for seed, piece in enumerate(study.stages(layout, tmp_path)[1].pieces):
        for path in (path for path in piece.files if path.stem in names):
            reached = dict.fromkeys(("holdout_accuracy", "remaining_accuracy", "unseen_accuracy"), 0.5 + 0.2 * seed)
            known = {"way": path.stem, "rows": 7, "of them wrong": None, "seconds": 10.0 * (seed + 1)}
            write_text(path, json.dumps(reached | known))
    table = study.tables(layout)["comparison"]
    assert table["way"].tolist() == names
    assert set(table["holdout_accuracy"]) == {"0.600 ± 0.141"}
    assert set(table["seconds"]) == {"15 ± 7"}
    assert set(table["of them wrong"]) == {"–"}


def test_a_way_that_fails_stops_no_other(tmp_path, monkeypatch, caplog):
    comparison = Comparison(
        Case(preset("digits-label_noise-s0"), Layout(tmp_path), tmp_path, torch.device("cpu")), tmp_path
    )

    def row(self, view, way):
        if way is WAYS[1]:
            raise ValueError("no luck")
        return {"way": way.name}

    monkeypatch.setattr(Comparison, "_row", row)
    assert comparison.run() == [f"{WAYS[1].name} failed: no luck"]
    assert [row["way"] for row in comparison.rows()] == [way.name for way in WAYS if way is not WAYS[1]]
