"""How much a repair may lose: the rules of the levels, and what no outcome can change."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from repair_pipeline.evaluation.gate import Gate
from repair_pipeline.evaluation.margins import LEVELS, least_broken, margin, most_broken


def test_the_bounds_are_those_of_clopper_and_pearson():
    for broken, rows in ((0, 40), (3, 40), (40, 40), (1, 1)):
        most, least = most_broken(broken, rows), least_broken(broken, rows)
        assert binom.cdf(broken, rows, most) == pytest.approx(0.025 if broken < rows else 1)
        assert binom.sf(broken - 1, rows, least) == pytest.approx(0.025 if broken else 1)


def test_a_strict_margin_is_the_same_for_every_test_set():
    assert {margin("strict", share, rows) for share in (0.01, 0.5, 1.0) for rows in (10, 10_000)} == {0.02}


@pytest.mark.parametrize(("level", "share"), [("standard", 0.2), ("exploratory", 0.5)])
def test_with_many_failures_the_loss_may_cancel_a_share_of_what_they_could_gain(level, share):
    for failures in (0.3, 0.45):
        most = margin(level, failures, 100_000)
        assert most * (1 - failures) == pytest.approx(share * failures, abs=1e-4)


@pytest.mark.parametrize(("level", "broken"), [("standard", 0.01), ("exploratory", 0.02)])
@pytest.mark.parametrize("rows", [120, 360, 2000])
def test_a_repair_that_breaks_hardly_anything_passes_four_times_in_five(level, broken, rows):
    most, rng = margin(level, 0.05, rows), np.random.default_rng(0)
    bounds = beta.ppf(0.975, (lost := rng.binomial(rows, broken, 4000)) + 1, rows - lost)
    assert (bounds <= most).mean() >= (0.78 if most < LEVELS[level].most_by_rows else 0.5)


def test_few_rows_do_not_let_a_repair_break_more_than_the_level_allows():
    assert margin("standard", 0.05, 30) == LEVELS["standard"].most_by_rows
    assert [margin("standard", 0.05, rows) for rows in (5000, 100_000)] == [0.02, 0.02]


def test_stricter_levels_have_smaller_margins():
    for share in (0.02, 0.2, 0.6):
        for rows in (50, 500, 5000):
            margins = [Gate(level=level).margin(share, rows) for level in ("strict", "standard", "exploratory")]
            of_class = [Gate(level=level).class_margin(share, rows) for level in ("strict", "standard", "exploratory")]
            assert margins == sorted(margins)
            assert of_class == sorted(of_class)
            assert all(0 < each < 1 for each in (*margins, *of_class))


def test_bounds_that_are_given_replace_those_of_the_level():
    gate = Gate(bound=0.07, class_bound=0.3)
    assert (gate.margin(0.4, 50), gate.class_margin(0.4, 50)) == (0.07, 0.3)
    assert Gate(bound=0.07).class_margin(0.01, 5000) == 0.14


def test_where_every_test_row_fails_the_margin_is_still_a_share():
    assert margin("standard", 1.0, 0) < 1
