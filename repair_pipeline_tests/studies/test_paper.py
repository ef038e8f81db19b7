"""The paper's study: judging claims, the files of its parts, and resuming an interrupted run."""

import json

import pandas as pd
import pytest

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.paper import claims, judging
from repair_pipeline.studies.paper.cells import piece
from repair_pipeline.studies.paper.charts import curves
from repair_pipeline.studies.paper.inputs import Imbalance
from repair_pipeline.studies.paper.specificity import _groups
from repair_pipeline.studies.paper.study import PARTS, Paper
from repair_pipeline.studies.study import write_results
from repair_pipeline_tests.pipeline.conftest import case_at

HIGH = pd.Series([0.10, 0.12, 0.11, 0.09, 0.13])
LOW = -HIGH
WIDE = pd.Series([0.5, -0.4, 0.1, 0.3, -0.2])


@pytest.mark.parametrize(
    ("papers", "ours", "verdict", "left_open"),
    [
        (HIGH, LOW, "reproduced", False),
        (LOW, HIGH, "different", False),
        (LOW, LOW, "not reproduced", False),
        (LOW, WIDE, "not reproduced", True),
    ],
)
def test_a_claim_holds_as_described_or_only_with_our_defaults(papers, ours, verdict, left_open):
    values = {"ewc_paper": papers, "ewc": ours}
    judged = judging.of_ewc("gain", values.__getitem__)
    assert judged.verdict == verdict
    assert ("leave it open" in judged.figures) == left_open
    assert f"{papers.mean():+.3f}" in judged.figures


def test_a_claim_holds_only_above_its_bound():
    assert judging.of_ewc("gain", lambda method: HIGH, above=0.05).verdict == "reproduced"
    assert judging.of_ewc("gain", lambda method: HIGH, above=0.15).verdict == "not reproduced"


@pytest.mark.parametrize(
    ("values", "most", "verdict"),
    [
        ([HIGH, HIGH, HIGH], False, "reproduced"),
        ([HIGH, HIGH, LOW], False, "different"),
        ([HIGH, HIGH, LOW], True, "reproduced"),
        ([HIGH, LOW, LOW], True, "different"),
        ([LOW, LOW, WIDE], True, "not reproduced"),
    ],
)
def test_a_claim_on_all_methods_holds_for_all_and_one_on_most_for_most(values, most, verdict):
    assert judging.of_each("gain", dict(zip("abc", values, strict=True)), most=most).verdict == verdict


def test_a_claim_without_measurements_is_not_judged():
    with pytest.raises(judging.NotMeasuredError):
        judging.above_zero("gain", pd.Series([None, None], dtype=float))


def test_the_best_baseline_is_the_best_of_each_seed():
    rows = pd.DataFrame(
        {"seed": [0, 1, 0, 1, 0], "method": ["sgd", "sgd", "linear_gd", "linear_gd", "ewc"], "x": [1.0, 5, 3, 2, 9]}
    )
    assert judging.best_baseline(rows, "x").to_dict() == {0: 3.0, 1: 5.0}


def test_at_least_fifteen_claims_without_repetition():
    sentences = [claim.says for claim in claims.CLAIMS]
    assert len(set(sentences)) == len(sentences) >= 15


def test_parts_can_be_selected_and_unknown_ones_are_refused():
    paper = Paper("paper", "mnist")
    assert [part.name for part in paper.only(["fig6", "fig3", "fig6"]).parts] == ["fig6", "fig3"]
    with pytest.raises(InputError, match=r"fig99.*fig2"):
        paper.only(["fig99"])


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_part_alone_makes_only_files_of_the_whole_study(part, tmp_path):
    def files(paper):
        stages = paper.stages(Layout(tmp_path), tmp_path)
        return [path for stage in stages for each in stage.pieces for path in each.files]

    alone = files(Paper("paper", "mnist", parts=(part,)))
    assert len(alone) == len(set(alone))
    assert set(alone) <= set(files(Paper("paper", "mnist")))


def test_a_method_looks_the_same_in_every_chart():
    rows = pd.DataFrame({"method": ["ewc", "random", "sgd", "ewc"], "x": [1, 1, 1, 2], "y": [0.1, 0.2, 0.3, 0.4]})

    def colours(drawn):
        axes = curves(drawn, "x", "x", {"y": "y"}).figure.axes[0]
        return {line.get_label(): line[0].get_color() for line in axes.containers}

    everything, two = colours(rows), colours(rows[rows["method"] != "random"])
    assert len(set(everything.values())) == 3
    assert two == {name: everything[name] for name in ("ewc", "sgd")}


def test_a_cell_knows_its_seed_and_corruption(tmp_path):
    path = tmp_path / "fig" / "a.json"
    cell = piece(case_at(tmp_path), path, 3.0, lambda case: [{"share": 0.2}, {"share": 0.4}])
    assert cell.files == {path: 3.0}
    assert cell.make() == []
    assert json.loads(path.read_text()) == [
        {"seed": 1, "corruption": "label_noise", "share": share} for share in (0.2, 0.4)
    ]


def test_a_group_is_the_classes_that_are_mistaken_for_each_other(tmp_path):
    case = case_at(tmp_path)
    groups = _groups(case)
    assert groups == {"1↔7": (1, 7), "3↔8": (3, 8)}


class Thinned(Imbalance):
    """The part with fewer rows."""

    def cases(self, scope, seed):
        settings = {"dataset": {"name": "digits", "train_size": 300}, "failures": None, "training": {"max_epochs": 10}}
        return [
            scope.spec(
                "imbalance",
                seed,
                influence={"loss": {}},
                treat=("loss",),
                treatments={"base": {}, "finetune": {}},
                **settings,
            )
        ]


def test_a_resumed_study_gives_the_same_tables(tmp_path):
    study = Paper("small", "digits", seeds=(0,), parts=(Thinned(),))
    layout = Layout(tmp_path)

    def tables():
        for each in (part for stage in study.stages(layout, tmp_path) for part in stage.pieces):
            assert each.make() == []
        write_results(study, layout)
        return (layout.study("small") / "Imbalance.csv").read_text()

    whole = tables()
    assert whole.count("finetune") == 2
    files = [path for stage in study.stages(layout, tmp_path) for each in stage.pieces for path in each.files]
    assert all(path.exists() for path in files)
    for path in files[len(files) // 2 :]:
        path.unlink()
    assert tables() == whole
