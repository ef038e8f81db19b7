"""The study ``attribution``: its measures against scipy and by hand, and the whole study on a small convex problem."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.studies.attribution.benchmark import BENCHMARKS, FLIPPED, Benchmark, Early
from repair_pipeline.studies.attribution.measures import area, gained, lds, mean_lds, summed_lds
from repair_pipeline.studies.attribution.scores import Pairwise, Summed
from repair_pipeline.studies.attribution.study import Attribution
from repair_pipeline.studies.attribution.truth import half, random_rows
from repair_pipeline.training.recipe import UserRecipe
from repair_pipeline_tests.oracles import auc
from repair_pipeline_tests.problems import blobs, examples

RNG = np.random.default_rng(0)


def test_lds_is_spearmans_correlation_of_each_query():
    predicted, measured = RNG.normal(size=(12, 5)), RNG.normal(size=(12, 5))
    predicted[3] = predicted[4]  # a tie
    expected = [spearmanr(a, b).statistic for a, b in zip(predicted.T, measured.T, strict=True)]
    np.testing.assert_allclose(lds(predicted, measured), expected, rtol=1e-12)
    assert mean_lds(predicted, measured).value == pytest.approx(np.mean(expected))
    assert summed_lds(predicted[:, 0], measured[:, 0]).value == pytest.approx(expected[0])


def test_a_query_without_an_order_has_no_correlation():
    assert lds(np.ones((6, 1)), RNG.normal(size=(6, 1)))[0] == 0


def test_intervals_of_the_mean_are_the_standard_errors():
    predicted, measured = RNG.normal(size=(30, 400)), RNG.normal(size=(30, 400))
    estimate, scores = mean_lds(predicted, measured), lds(predicted, measured)
    half_width = 1.96 * scores.std() / np.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(half_width, rel=0.15)
    assert estimate.value - estimate.low == pytest.approx(half_width, rel=0.15)


def test_what_is_gained_is_over_the_control_and_the_interval_has_the_spread_of_retrainings():
    control = RNG.normal(size=(6, 50))
    assert gained(control + 0.5, control).value == pytest.approx(0.5)
    quiet = gained(np.zeros((6, 50)), np.ones((6, 50)))
    assert (quiet.low, quiet.value, quiet.high) == (-1, -1, -1)
    noisy = gained(np.zeros((6, 50)) + RNG.normal(size=(6, 1)), np.ones((6, 50)))
    assert noisy.high - noisy.low > 0.5


def test_the_area_is_mann_and_whitneys():
    scores, wrong = RNG.integers(0, 5, 40).astype(float), RNG.random(40) < 0.3
    estimate = area(scores, wrong)
    assert estimate.value == pytest.approx(auc(scores, wrong))
    assert estimate.low < estimate.value < estimate.high <= 1


def test_halves_and_controls_are_random_rows_of_their_own():
    benchmark = BENCHMARKS["mnist-lr"]
    first, second = half(benchmark, 0), half(benchmark, 1)
    assert len(set(first)) == 2500
    assert 1100 < len(set(first) & set(second)) < 1400
    assert (half(benchmark, 0) == first).all()
    assert len(set(random_rows(benchmark, 50, 0))) == 50


@dataclass(frozen=True)
class Small(Benchmark):
    """Overlapping blobs, on which logistic regression is trained until it converges."""

    def rows(self, folder):
        return tuple(
            examples(rows.inputs.float(), rows.labels, prefix)
            for rows, prefix in ((blobs(self.fit, seed=1), "fit"), (blobs(self.queries, seed=2), "query"))
        )


SMALL = Small(
    "small",
    lambda: nn.Linear(4, 3),
    UserRecipe(epochs=400, optimiser="sgd", learning_rate=0.3, batch_size=1000, weight_decay=0.02),
    damping=0.02,
    early=Early(epochs=300, damping=0.02),
    fit=80,
    queries=40,
    halves=30,
    removals=2,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("home"))
    study = Attribution(
        benchmarks=(SMALL,),
        pairwise=(
            Pairwise("grad_dot", None),
            Pairwise("ekfac", "ekfac", checkpoints=2),
            Pairwise("ekfac", "ekfac"),
            Pairwise("ekfac", "ekfac", early=True),
            Pairwise("exact", "exact"),
        ),
        summed=(Summed("loss"), Summed("linear_gd", {"guard": "none"})),
        detectors=("loss", "margin"),
        removers=("linear exact", "loss"),
    )
    for number in range(4):
        for piece in study.stages(layout, layout.home)[number].pieces:
            assert piece.left
            assert piece.make() == []
            assert not piece.left
    return study, layout


def value(layout, measure, method, query_set):
    rows = query(
        layout,
        f"SELECT * FROM attribution WHERE measure = '{measure}' AND method = '{method}' AND query_set = '{query_set}'",
    ).to_pylist()
    assert len(rows) == 1
    assert rows[0]["low"] <= rows[0]["value"] <= rows[0]["high"]
    return rows[0]["value"]


def test_on_a_convex_problem_the_exact_curvature_predicts_retraining(done):
    _, layout = done
    exact, dot = (value(layout, "LDS", name, "each") for name in ("linear exact", "grad_dot"))
    assert exact > 0.9
    assert exact > dot + 0.1
    assert value(layout, "LDS", "linear exact", "failures") > 0.8


def test_removing_what_the_exact_curvature_calls_harmful_helps_the_failures(done):
    _, layout = done
    assert value(layout, "QLD 5%", "linear exact", "failures") > 0


def test_tables_show_every_method_and_the_best_first(done):
    study, layout = done
    tables = study.tables(layout)
    assert set(tables) == {f"small {name}" for name in ("LDS", "QLD 1%", "QLD 5%", "AUC of flips")}
    methods = tables["small LDS"]["method"].tolist()
    ours = {"linear ekfac", "linear ekfac ×2", "linear ekfac early", "linear exact"}
    assert set(methods) == {"grad_dot", *ours, "loss", "linear_gd guard=none"}
    assert methods[0] in ours


def test_a_second_run_reads_what_the_first_stored(done):
    study, layout = done
    assert not any(piece.left for stage in study.stages(layout, layout.home) for piece in stage.pieces)
    # With the ground truth at hand only what is new is made, and measured again.
    more = replace(study, summed=(*study.summed, Summed("margin")))
    left = {piece.name for stage in more.stages(layout, layout.home) for piece in stage.pieces if piece.left}
    assert left == {"small summed-margin"}


def test_flips_are_exact_and_to_another_class():
    fit, _ = SMALL.rows(None)
    flipped = SMALL.flipped(fit)
    assert int((flipped.labels != fit.labels).sum()) == round(FLIPPED * len(fit))
    assert set(flipped.labels.tolist()) == {0, 1, 2}
    assert torch.equal(flipped.inputs, fit.inputs)
