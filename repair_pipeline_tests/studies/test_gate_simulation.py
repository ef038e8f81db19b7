"""The study of the gate on simulated repairs, at a few runs of a few settings."""

from dataclasses import replace

import numpy as np
import pytest

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.gate_simulation import NULLS, GateSimulation, Setting, _earlier, _outcomes
from repair_pipeline.studies.study import run_study


def test_its_tables_have_a_row_a_setting_and_a_second_run_makes_nothing(tmp_path):
    study = GateSimulation(runs=20, settings=(NULLS[0], Setting("half", gain=0.5, holdout=30)))
    layout, calls = Layout(tmp_path), []
    assert study.tables(layout) == {}
    assert run_study(study, layout, tmp_path, lambda *at: calls.append(at)) == []
    tables = study.tables(layout)
    assert tables["level"]["nothing to find"].tolist() == [NULLS[0].name]
    (power,) = tables["power"].to_dict("records")
    assert power["accepted"] > tables["level"]["accepted"].item()
    words = ["accepted", "not_proven", "rejected", "not_a_data_problem"]
    assert sum(power[word] for word in words) == pytest.approx(1)
    assert not study.stages(layout, tmp_path)[0].pieces[0].left


def test_a_population_is_as_its_setting_says():
    rng = numpy_stream(0, "test")
    setting = Setting("wide", gain=0.2, holdout=4000, fixes=0.3, seed_spread=0.1)
    drawn = [_outcomes(setting, 9, rng) for _ in range(20)]
    repaired, controls = (
        np.concatenate([getattr(each, name).mean(axis=1) for each in drawn])
        for name in ("repairs_holdout", "controls_holdout")
    )
    assert controls.mean() == pytest.approx(0.3, abs=0.04)
    assert 0.1 < repaired.mean() - controls.mean() <= 0.2  # failures that are fixed anyway gain nothing
    assert controls.std() == pytest.approx(0.1, abs=0.03)
    assert all((each.repaired_holdout == each.repairs_holdout[0]).all() for each in drawn)
    chosen = [_outcomes(Setting("chosen", holdout=4000, selected=True), 9, rng) for _ in range(20)]
    assert np.mean([each.repaired_holdout.mean() - each.repairs_holdout.mean() for each in chosen]) > 0.03


def test_the_earlier_gate_knows_the_holdout_alone_and_must_beat_the_best_control():
    given = _outcomes(Setting("clear", gain=0.6, holdout=200, fixes=0.2, seed_spread=0.02), 9, numpy_stream(1, "test"))
    assert _earlier(given)
    controls = given.controls_holdout.copy()
    controls[0] = given.repaired_holdout
    given = replace(given, controls_holdout=controls)
    assert not _earlier(given)
