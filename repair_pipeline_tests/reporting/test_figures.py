from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from repair_pipeline.reporting.charts import influence_histogram
from repair_pipeline.reporting.figures import case_figures, pictures
from repair_pipeline.reporting.picture import description_of, png
from repair_pipeline_tests.reporting.made_up import CASE_ID, PLANTED, RECOVERY, ROWS, MadeUp


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return MadeUp(tmp_path_factory.mktemp("home")).written()


@pytest.fixture(scope="module")
def drawn(case):
    return pictures(case.evidence)


def test_the_figures_are_those_of_the_report(case, drawn):
    figures = case_figures(case.layout, CASE_ID, case.data, case.partition)
    assert list(figures) == list(drawn)
    assert set(figures) == {
        "failure_classes", "failures", "detection_curve", "influence_histogram", "most_harmful", "least_harmful",
        "trade_off", "label_noise",
    }  # fmt: skip


def test_failures_are_counted_by_class(drawn):
    (axes,) = drawn["failure_classes"].figure.axes
    assert sum(bar.get_width() for bar in axes.patches) == 20


def test_the_curve_of_each_method_lies_between_oracle_and_random(drawn):
    (axes,) = drawn["detection_curve"].figure.axes
    lines = {line.get_label(): np.array(line.get_data()).T.tolist() for line in axes.lines}
    assert lines["oracle, perfect order"] == [[0, 0], [PLANTED, PLANTED], [ROWS, PLANTED]]
    assert lines["random, on average"] == [[0, 0], [ROWS, PLANTED]]
    assert lines["ewc, AUC 0.938"] == [[0, 0], [10, 6], [ROWS, PLANTED]]
    assert "loss, AUC 0.812" in lines


@pytest.mark.parametrize("neutral", [0.0, 0.69, None])
def test_the_histogram_counts_every_row_on_its_side_of_the_neutral_value(case, neutral):
    scores = replace(case.evidence.scores, neutral=neutral)
    picture = influence_histogram(replace(case.evidence, scores=scores))
    (axes,) = picture.figure.axes
    values = scores.values
    assert [line.get_xdata()[0] for line in axes.lines] == ([] if neutral is None else [neutral])
    assert ("helpful" in axes.get_xlabel()) == ("neutral" in picture.alt_text) == (neutral is not None)
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches if hasattr(bar, "get_x")]
    assert sum(height for _, height in bars) == ROWS - PLANTED
    middle = neutral or 0.0
    assert sum(height for x, height in bars if x > middle) == int((values > middle).sum()) - PLANTED


def test_the_most_harmful_come_first_with_both_labels(drawn):
    captions = [axes.get_xlabel() for axes in drawn["most_harmful"].figure.axes]
    assert len(captions) == 16
    assert captions[0] == "given dog\ntrue cat\nplanted +3.05"
    assert captions[PLANTED] == "given owl\ntrue owl\nr̃ +2.25"
    assert drawn["least_harmful"].figure.axes[0].get_xlabel() == "given cat\ntrue cat\nr̃ −0.85"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_get_the_mean_back_and_stay_in_range(tmp_path, channels):
    case = MadeUp(tmp_path, channels=channels).written()
    (image,) = pictures(case.evidence)["least_harmful"].figure.axes[0].images
    assert image.get_array().shape == ((4, 4) if channels == 1 else (4, 4, 3))
    assert_allclose(image.get_array(), 1.0)


def test_the_label_noise_is_that_of_the_rows(drawn):
    (axes,) = drawn["label_noise"].figure.axes
    assert {(text.get_position(), text.get_text()) for text in axes.texts if text.get_fontweight() == "bold"} == {
        ((1, 0), "3"),
        ((2, 1), "3"),
        ((0, 2), "2"),
    }


def test_a_dot_for_each_model_stands_at_its_accuracy(drawn):
    (axes,) = drawn["trade_off"].figure.axes
    marks = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert len(marks) == len(RECOVERY)
    assert_allclose(marks["2  ewc → finetune (repair)"], (95, 90))
    assert_allclose(marks["8  semi_oracle (reference)"], (100, 100))


def test_every_mark_has_a_shape_of_its_own_and_its_number_beside_it(drawn):
    (axes,) = drawn["trade_off"].figure.axes
    assert len({line.get_marker() for line in axes.lines}) == len(RECOVERY)
    beside = [(int(text.get_text()), text.xy) for text in axes.texts]
    assert beside == [(at, (line.get_xdata()[0], line.get_ydata()[0])) for at, line in enumerate(axes.lines, 1)]


def test_marks_at_one_place_have_their_numbers_at_two(tmp_path):
    same = [("ewc", "finetune", 8, 9, 19), ("ewc", "ewc_deletion", 8, 9, 19), (None, "reseed", 0, 9, 19)]
    (axes,) = pictures(MadeUp(tmp_path, recovery=tuple(same)).written().evidence)["trade_off"].figure.axes
    assert len({text.get_position() for text in axes.texts}) == 3


def test_a_png_keeps_its_alt_text(drawn, tmp_path):
    (tmp_path / "kept.png").write_bytes(png(drawn["trade_off"]))
    assert description_of(tmp_path / "kept.png") == drawn["trade_off"].alt_text
