"""The verdict on a patch: an explicit formula, invariances, and an interval that holds what it says."""

from dataclasses import asdict, replace
from statistics import mean, variance

import numpy as np
import pytest
from scipy.stats import t

from repair_pipeline.evaluation.next_training import Trainings, judge_patch

SHARE = 0.2


def simulated(draw, on_failures, on_others, seeds=3, failures=60, others=240):
    """Outcomes whose expected difference is known: rows differ in how they are helped, trainings in how good they are.

    Every probability stays between 0 and 1, so the expected difference is just that of the rows.
    """

    def outcomes(rows, effect):
        before = draw.uniform(0.4, 0.6, rows)
        after = before + draw.uniform(effect - 0.2, effect + 0.2, rows)
        seen = [chance + draw.uniform(-0.03, 0.03, (seeds, 1)) for chance in (before, after)]
        return [draw.random((seeds, rows)) < chance for chance in seen]

    (as_is_holdout, patched_holdout), (as_is_remaining, patched_remaining) = (
        outcomes(failures, on_failures),
        outcomes(others, on_others),
    )
    return Trainings(as_is_holdout, as_is_remaining, patched_holdout, patched_remaining, SHARE)


@pytest.fixture
def outcomes():
    return simulated(np.random.default_rng(0), 0.1, 0.02)


def test_the_interval_is_that_of_rows_and_trainings_by_satterthwaite(outcomes):
    def gained(arm, base, training, row):
        return int(arm[training, row]) - int(base[training, row])

    arms = [(outcomes.patched_holdout, outcomes.as_is_holdout), (outcomes.patched_remaining, outcomes.as_is_remaining)]
    weights, seeds = [SHARE, 1 - SHARE], range(3)
    by_training = [
        sum(
            weight * mean(gained(arm, base, seed, row) for row in range(arm.shape[1]))
            for weight, (arm, base) in zip(weights, arms, strict=True)
        )
        for seed in seeds
    ]
    parts, both = [(variance(by_training) / 3, 2)], 0.0
    for weight, (arm, base) in zip(weights, arms, strict=True):
        rows = arm.shape[1]
        by_row = [mean(gained(arm, base, seed, row) for seed in seeds) for row in range(rows)]
        by_seed = [mean(gained(arm, base, seed, row) for row in range(rows)) for seed in seeds]
        left = [
            (gained(arm, base, seed, row) - by_row[row] - by_seed[seed] + mean(by_seed)) ** 2
            for seed in seeds
            for row in range(rows)
        ]
        parts.append((weight**2 * variance(by_row) / rows, rows - 1))
        both += weight**2 * sum(left) / (2 * (rows - 1)) / (3 * rows)
    seed_part, row_part = parts[0][0], sum(part for part, _ in parts[1:])
    total = max(seed_part, row_part, seed_part + row_part - both)
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    half = t.ppf(0.975, freedom) * total**0.5
    verdict = judge_patch(outcomes)
    assert verdict.difference == pytest.approx(mean(by_training))
    assert (verdict.difference_low, verdict.difference_high) == pytest.approx(
        (verdict.difference - half, verdict.difference + half)
    )
    assert verdict.patched - verdict.as_is == pytest.approx(verdict.difference)
    right = [outcomes.as_is_holdout.sum() / (3 * 60), outcomes.as_is_remaining.sum() / (3 * 240)]
    assert verdict.as_is == pytest.approx(SHARE * right[0] + (1 - SHARE) * right[1])
    assert verdict.trainings == 3


def reordered(outcomes, trainings, failures, others):
    return Trainings(
        outcomes.as_is_holdout[trainings][:, failures],
        outcomes.as_is_remaining[trainings][:, others],
        outcomes.patched_holdout[trainings][:, failures],
        outcomes.patched_remaining[trainings][:, others],
        outcomes.share,
    )


def test_neither_the_order_of_rows_nor_that_of_trainings_matters(outcomes):
    draw = np.random.default_rng(1)
    moved = reordered(outcomes, *(draw.permutation(count) for count in (3, 60, 240)))
    one, other = asdict(judge_patch(outcomes)), asdict(judge_patch(moved))
    assert {name: value for name, value in one.items() if isinstance(value, str)} == {
        name: value for name, value in other.items() if isinstance(value, str)
    }
    for name in ("as_is", "patched", "difference", "difference_low", "difference_high"):
        assert one[name] == pytest.approx(other[name], rel=1e-10)


def exchanged(outcomes):
    return Trainings(
        outcomes.patched_holdout,
        outcomes.patched_remaining,
        outcomes.as_is_holdout,
        outcomes.as_is_remaining,
        outcomes.share,
    )


def test_a_patch_that_helps_would_harm_if_it_were_reverted():
    outcomes = simulated(np.random.default_rng(2), 0.15, 0.15)
    forth, back = judge_patch(outcomes), judge_patch(exchanged(outcomes))
    assert (forth.verdict, back.verdict) == ("better", "worse")
    assert (back.difference_low, back.difference_high) == pytest.approx((-forth.difference_high, -forth.difference_low))
    assert f"{forth.difference:+.4f}" in forth.reason
    assert "not proven" not in forth.reason


def test_identical_trainings_have_no_difference(outcomes):
    same = replace(outcomes, patched_holdout=outcomes.as_is_holdout, patched_remaining=outcomes.as_is_remaining)
    verdict = judge_patch(same)
    assert (verdict.difference, verdict.difference_low, verdict.difference_high) == (0, 0, 0)
    assert verdict.verdict == "not_proven"
    assert "not proven" in verdict.reason


def test_the_interval_holds_the_true_difference_in_95_of_100_data_sets_and_is_of_use():
    true, draw = SHARE * 0.1 + (1 - SHARE) * 0.02, np.random.default_rng(3)
    verdicts = [judge_patch(simulated(draw, 0.1, 0.02)) for _ in range(300)]
    held = [verdict.difference_low <= true <= verdict.difference_high for verdict in verdicts]
    assert np.mean(held) >= 0.9
    assert np.median([verdict.difference_high - verdict.difference_low for verdict in verdicts]) < 0.2


def test_an_effect_is_seldom_claimed_where_there_is_none():
    draw = np.random.default_rng(4)
    verdicts = [judge_patch(simulated(draw, 0.0, 0.0)).verdict for _ in range(300)]
    assert verdicts.count("not_proven") >= 0.93 * 300


def test_one_training_is_too_few(outcomes):
    with pytest.raises(ValueError, match="no spread"):
        judge_patch(reordered(outcomes, np.arange(1), np.arange(60), np.arange(240)))
