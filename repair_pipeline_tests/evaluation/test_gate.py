"""The gate, against a bootstrap that draws row by row and against simulated repairs."""

from dataclasses import fields, replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import beta, binom

from repair_pipeline.evaluation.gate import Gate, Outcomes, expected_detectable, holm, judge
from repair_pipeline.evaluation.interval import Part, difference
from repair_pipeline.evaluation.margins import breakable, provable_loss, rows_to_prove

CLASSES = ("cat", "dog", "owl")
SEEDS = 5


def outcomes(fixed=40, holdout=60, controls=(10, 12, 14, 11, 13), broken=0, remaining=600, share=0.2, removed=50):
    """A repair right on the first ``fixed`` rows of holdout, with every seed, and controls that break as many.

    Classes take turns, and broken rows are at the end.
    """
    repaired, kept = np.arange(holdout) < fixed, np.arange(remaining) < remaining - broken
    return Outcomes(
        repaired_holdout=repaired,
        repaired_remaining=kept,
        repairs_holdout=np.tile(repaired, (SEEDS, 1)),
        repairs_remaining=np.tile(kept, (SEEDS, 1)),
        controls_holdout=np.arange(holdout) < np.array(controls)[:, None],
        controls_remaining=np.tile(kept, (len(controls), 1)),
        remaining_labels=np.arange(remaining) % 3,
        share=share,
        removed=removed,
    )


def judged(given, gate=None, seed=0, resamples=10_000):
    return judge(gate or Gate(), [given], CLASSES, np.random.default_rng(seed), resamples)[0]


def row_by_row(given, resamples=4000):
    """The interval of gain, by drawing rows' numbers."""
    rng, gains = np.random.default_rng(1), []
    repaired, kept = given.repaired_holdout, given.repaired_remaining
    for _ in range(resamples):
        holdout = rng.integers(len(repaired), size=len(repaired))
        remaining = rng.integers(len(kept), size=len(kept))
        after = given.share * repaired[holdout].mean() + (1 - given.share) * kept[remaining].mean()
        gains.append(after - (1 - given.share))
    return np.percentile(gains, [2.5, 97.5])


def test_a_holdout_that_was_read_before_recommends_and_changes_no_number():
    fresh, again = judged(outcomes()), judged(replace(outcomes(), reused=2))
    assert (fresh.verdict, again.verdict) == ("accepted", "recommended")
    assert "reused 2 times" in again.reason
    assert replace(again, verdict=fresh.verdict, reason=fresh.reason, reused=0) == fresh
    worse = replace(outcomes(broken=120), reused=2)
    assert judged(worse).verdict == "rejected"


@pytest.mark.parametrize(("bound", "remaining"), [(0.02, 183), (0.02, 600), (0.05, 124), (0.2, 30)])
def test_the_rows_that_may_break_are_as_many_as_the_gate_accepts(bound, remaining):
    most = breakable(bound, remaining)
    rule = Gate(bound=bound, class_bound=0.99)
    verdicts = [judged(outcomes(broken=most + more, remaining=remaining), rule).verdict for more in (0, 1)]
    assert verdicts == ["accepted", "not_proven"]


def test_what_no_broken_row_proves():
    assert (breakable(0.02, 182), breakable(0.02, 0), provable_loss(0)) == (None, None, 1.0)
    for rows in (1, 20, 124, 182, 5000):
        least = provable_loss(rows)
        assert least == pytest.approx(beta.ppf(0.975, 1, rows))
        assert rows_to_prove(least * 1.0001) <= rows < rows_to_prove(least * 0.9999)


def two_models(fixed=40, holdout=60, broken=2, remaining=600, share=0.1):
    """A model and the one that it is to replace, which gets no holdout row right and no remaining row wrong."""
    new, old = np.arange(holdout) < fixed, np.arange(remaining) >= broken
    return replace(
        outcomes(holdout=holdout, remaining=remaining, share=share, removed=None),
        repaired_holdout=new,
        repaired_remaining=old,
        repairs_holdout=new[None],
        repairs_remaining=old[None],
        controls_holdout=np.zeros((1, holdout), dtype=bool),
        controls_remaining=np.ones((1, remaining), dtype=bool),
        as_they_are=True,
    )


def test_two_models_are_compared_as_they_are_without_controls():
    verdict = judged(two_models(), resamples=40_000)
    assert verdict.verdict == "accepted"
    assert "control" not in verdict.reason
    assert verdict.over_control == pytest.approx(verdict.gain) == pytest.approx(0.1 * 40 / 60 - 0.9 * 2 / 600)
    over = verdict.over_control_low, verdict.over_control_high
    np.testing.assert_allclose(over, (verdict.gain_low, verdict.gain_high), atol=0.002)
    np.testing.assert_allclose(over, row_by_row(two_models()), atol=0.003)
    with pytest.raises(ValueError, match="1 controls were run"):
        judged(replace(two_models(), as_they_are=False))


TWO = {
    "as good": (two_models(fixed=6, broken=6), "not_proven", "better than the old model cannot be told"),
    "worse": (two_models(fixed=6, broken=60), "rejected", "breaks more than it fixes"),
    "perhaps better": (two_models(fixed=12, broken=6), "not_proven", "this one with about"),
    "breaks too much": (two_models(fixed=55, broken=12), "not_proven", "rows that were right may break"),
    "read before": (replace(two_models(), reused=1), "recommended", "compare the models on new failures"),
    "few failures": (two_models(fixed=9, holdout=9, broken=0), "recommended", "compare the models on more"),
}


@pytest.mark.parametrize("kind", TWO)
def test_the_verdict_on_two_models_has_the_words_of_the_gate(kind):
    given, decision, says = TWO[kind]
    verdict = judged(given)
    assert (verdict.verdict, says in verdict.reason) == (decision, True), verdict.reason
    assert "controls" not in verdict.reason


def noisy(seed, seeds=SEEDS):
    rng = np.random.default_rng(seed)

    def right(rows, chances):
        return rng.random((len(chances), rows)) < chances[:, None]

    repairs, kept = right(40, np.full(seeds, 0.6)), right(100, np.full(seeds, 0.97))
    return replace(
        outcomes(holdout=40, remaining=100),
        repaired_holdout=repairs[0],
        repaired_remaining=kept[0],
        repairs_holdout=repairs,
        repairs_remaining=kept,
        controls_holdout=right(40, np.linspace(0.2, 0.5, seeds)),
        controls_remaining=right(100, np.full(seeds, 0.95)),
    )


def test_the_interval_of_the_gain_is_that_of_a_bootstrap_over_rows():
    verdict = judged(noisy(2), resamples=40_000)
    np.testing.assert_allclose([verdict.gain_low, verdict.gain_high], row_by_row(noisy(2)), atol=0.01)


def test_changes_are_counted_at_the_natural_mix():
    verdict = judged(outcomes(fixed=30, broken=6, share=0.25))
    assert (verdict.fixed, verdict.broken) == (30, 6)
    assert verdict.gain == pytest.approx(0.25 * 0.5 - 0.75 * 0.01)
    assert verdict.over_control == pytest.approx(0.25 * (30 / 60 - 12 / 60))
    assert verdict.remaining_change == pytest.approx(-0.01)
    assert verdict.remaining_low == pytest.approx(-beta.ppf(0.975, 7, 594))


def test_a_repair_that_beats_the_controls_and_breaks_nothing_is_accepted():
    verdict = judged(outcomes())
    assert verdict.verdict == "accepted"
    assert "50 training rows fixes 40 of 60" in verdict.reason
    assert verdict.gain_low > 0


def test_the_order_of_rows_does_not_matter():
    given, rng = noisy(3), np.random.default_rng(4)
    holdout, remaining = rng.permutation(40), rng.permutation(100)
    shuffled = {
        name: getattr(given, name)[..., holdout if name.endswith("holdout") else remaining]
        for name in (field.name for field in fields(given))
        if name.endswith(("holdout", "remaining", "labels"))
    }
    assert judged(replace(given, **shuffled)) == judged(given)


def test_the_repair_is_compared_at_the_natural_mix_by_all_its_seeds():
    given = noisy(1)
    holdout = given.repairs_holdout.mean() - given.controls_holdout.mean()
    remaining = given.repairs_remaining.mean() - given.controls_remaining.mean()
    assert judged(given).over_control == pytest.approx(0.2 * holdout + 0.8 * remaining)


def test_controls_that_fix_as_many_and_break_more_are_beaten():
    rng, kept = np.random.default_rng(0), np.arange(600) < 590
    controls = rng.random((SEEDS, 600)) < 0.7
    given = outcomes(fixed=30, controls=(29, 30, 31, 30, 30))
    given = replace(given, repaired_remaining=kept, repairs_remaining=np.tile(kept, (SEEDS, 1)), share=0.4)
    assert judged(given).over_control < 0.01
    assert judged(replace(given, controls_remaining=controls)).verdict == "accepted"


def test_an_advantage_within_the_variance_of_seeds_or_rows_is_not_proven():
    spread = (5, 20, 50, 55, 10)
    for given in (outcomes(fixed=20, controls=(4, 24, 10, 20, 22)), outcomes(fixed=40, controls=spread)):
        verdict = judged(given)
        assert verdict.verdict == "not_proven"
        assert verdict.over_control_low <= 0 < verdict.over_control < verdict.detectable
        assert "cannot be told" in verdict.reason
        assert f"A gain of {verdict.detectable:.4f} over the controls" in verdict.reason
    assert verdict.failures_needed is None
    assert "More failures alone would not settle" in verdict.reason
    assert judged(noisy(2)).failures_needed > 0


def test_a_repair_that_is_shown_to_gain_no_more_than_random_removal_is_not_a_data_problem():
    same = outcomes(fixed=30, holdout=600, controls=(30, 31, 29, 30, 30), remaining=3000)
    verdict = judged(same)
    assert verdict.verdict == "not_a_data_problem"
    assert verdict.over_control_high < 0.1 * 0.2
    assert "0.0200, the smallest gain worth having" in verdict.reason
    assert judged(replace(same, removed=None)).verdict != "not_a_data_problem"


def test_controls_that_repair_wrong_rows_themselves_do_not_show_that_the_data_are_right():
    same = outcomes(fixed=30, holdout=600, controls=(30, 31, 29, 30, 30), remaining=3000)
    verdict = judged(replace(same, controls_repair=True))
    assert verdict.verdict == "not_proven"
    assert "they repair wrong ones among them too" in verdict.reason
    accepted = noisy(1)
    assert judged(replace(accepted, controls_repair=True)) == judged(accepted)


def test_a_small_gain_that_is_proven_is_no_proof_that_the_data_are_right():
    rng = np.random.default_rng(0)
    levels = np.concatenate([rng.normal(0.36, 0.004, SEEDS), rng.normal(0.30, 0.004, SEEDS)])
    right = np.tile(rng.random(4000), (2 * SEEDS, 1)) < levels[:, None]
    given = replace(
        outcomes(holdout=4000, remaining=3000),
        repaired_holdout=right[0],
        repairs_holdout=right[:SEEDS],
        controls_holdout=right[SEEDS:],
    )
    verdict = judged(given)
    assert 0 < verdict.over_control_low < verdict.over_control_high < 0.1 * 0.2
    assert verdict.verdict == "accepted"


@pytest.mark.parametrize("controls", [(60, 0, 0, 0, 0), (40, 10, 12, 30, 5), (20, 22, 18, 21, 19)])
def test_a_control_that_fixes_as_many_does_not_show_that_the_data_are_right(controls):
    given = noisy(1)
    rng = np.random.default_rng(2)
    levels = np.array(controls)[:, None] / 60
    verdict = judged(replace(given, controls_holdout=rng.random((SEEDS, 40)) < levels))
    assert verdict.verdict != "not_a_data_problem"


def test_where_nothing_is_removed_nothing_is_told():
    verdict = judged(outcomes(removed=0))
    assert verdict.verdict == "not_proven"
    assert verdict.reason.startswith("No training row was found to remove")


def test_a_gain_that_could_be_chance_is_not_proven_and_a_loss_is_rejected():
    verdict = judged(outcomes(fixed=20, controls=(0,) * 5, broken=9, share=0.05), Gate(bound=0.5))
    assert (verdict.verdict, verdict.gain_low < 0 < verdict.gain_high) == ("not_proven", True)
    assert "Whether it fixes more than it breaks cannot be told" in verdict.reason
    worse = judged(outcomes(fixed=5, controls=(0,) * 5, broken=60), Gate(bound=0.5, class_bound=0.9))
    assert (worse.verdict, worse.gain_high < 0) == ("rejected", True)
    assert "It breaks more than it fixes." in worse.reason


@pytest.mark.parametrize(("remaining", "broken", "expected"), [
    (600, 5, "accepted"), (600, 6, "not_proven"), (600, 19, "not_proven"), (600, 20, "rejected"),
    (184, 0, "accepted"), (183, 0, "accepted"), (182, 0, "not_proven"),
])  # fmt: skip
def test_the_upper_bound_of_broken_rows_must_be_below_the_margin_and_the_lower_one_rejects(remaining, broken, expected):
    verdict = judged(outcomes(remaining=remaining, broken=broken), Gate(level="strict", class_bound=0.9))
    assert verdict.verdict == expected
    assert (verdict.margin, verdict.class_margin) == (0.02, 0.9)
    assert f"{broken} of {remaining}" in verdict.reason
    assert ("the margin is 0.02" in verdict.reason) == (expected != "accepted")


def test_every_doubt_is_said_at_once():
    reason = judged(
        outcomes(fixed=13, broken=7, controls=(0, 24, 6, 28, 2), remaining=300, share=0.1), Gate(level="strict")
    ).reason
    for doubt in ("better than random removal", "fixes more than it breaks", "the margin is 0.02"):
        assert doubt in reason


def broken_owls(owls, broken):
    """Rows of cats and dogs that are all kept, and owls of which the first few break."""
    labels = np.concatenate([np.arange(600) % 2, np.full(owls, 2)])
    kept = np.ones(len(labels), dtype=bool)
    kept[600 : 600 + broken] = False
    whole = np.tile(kept, (SEEDS, 1))
    return replace(
        outcomes(),
        repaired_remaining=kept,
        repairs_remaining=whole,
        controls_remaining=whole,
        remaining_labels=labels,
    )


@pytest.mark.parametrize(("owls", "broken", "expected"), [
    (20, 0, "accepted"), (20, 1, "accepted"), (20, 2, "not_proven"), (60, 5, "accepted"), (60, 6, "not_proven"),
    (20, 7, "rejected"), (60, 14, "rejected"), (19, 4, "accepted"), (19, 7, "rejected"),
])  # fmt: skip
def test_a_class_that_breaks_casts_doubt_and_rejects_where_the_loss_is_shown(owls, broken, expected):
    verdict = judged(broken_owls(owls, broken), Gate(bound=0.05, class_bound=0.1))
    assert verdict.verdict == expected
    assert ("lass owl" in verdict.reason) == (expected != "accepted")
    assert verdict.unjudged == (("owl",) if owls == 19 else ())
    assert (verdict.worst_class == "owl") == (broken > 0 and owls >= 20)
    # Holm: the smallest of three p-values counts three times.
    assert (3 * binom.sf(broken - 1, owls, 0.1) <= 0.025) == (expected == "rejected")


def test_classes_without_enough_rows_leave_no_worst_class():
    verdict = judged(outcomes(remaining=50))
    assert (verdict.worst_class, verdict.worst_class_change, verdict.unjudged) == (None, None, CLASSES)


def test_holms_correction_is_that_of_the_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_with_several_failure_groups_each_must_show_more():
    one = noisy(11)
    alone = judged(one, Gate(level="exploratory"))
    p_value = difference(
        [
            Part(0.2, one.repairs_holdout.astype(float), one.controls_holdout.astype(float)),
            Part(0.8, one.repairs_remaining.astype(float), one.controls_remaining.astype(float)),
        ]
    ).p_value
    assert 0.025 / 10 < p_value < 0.025
    nothing = replace(one, controls_holdout=one.repairs_holdout, controls_remaining=one.repairs_remaining)
    many = judge(Gate(level="exploratory"), [one, *[nothing] * 9], CLASSES, np.random.default_rng(0))
    assert "better than random removal" not in alone.reason
    assert "corrected for 10 failure groups" in many[0].reason


def simulated(seed, holdout, shift, ease):
    """A repair and controls that are draws of the same process: rows differ in ease, models in ability."""
    rng = np.random.default_rng(seed)
    easy, able = rng.normal(ease, size=holdout), rng.normal(scale=shift, size=(2 * SEEDS, 1))
    right = rng.random((2 * SEEDS, holdout)) < 1 / (1 + np.exp(-easy - able))
    return replace(
        outcomes(remaining=800),
        repaired_holdout=right[0],
        repairs_holdout=right[:SEEDS],
        controls_holdout=right[SEEDS:],
    )


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("holdout", [30, 300, 3000])
@pytest.mark.parametrize("ease", [0, -2.5])
def test_a_repair_no_better_than_its_controls_is_seldom_accepted_however_many_rows(holdout, shift, ease):
    verdicts = [judged(simulated(seed, holdout, shift, ease), resamples=100).verdict for seed in range(400)]
    # At most 2.5% are meant. By chance more than 20 of 400 would be let through once in 300 times.
    assert verdicts.count("accepted") <= 20


def test_what_is_said_before_the_run_is_what_a_gate_of_these_seeds_would_prove():
    share, holdout, remaining = 0.2, 60, 600
    expected = expected_detectable(Gate(), share, holdout, remaining)
    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        right = rng.random((10, holdout)) < rng.normal(0.5, 0.08, (10, 1))
        given = replace(outcomes(), repairs_holdout=right[:5], controls_holdout=right[5:])
        found.append(judged(given, resamples=10).detectable)
    assert 0.5 * expected < np.mean(found) < expected
    assert expected_detectable(Gate(controls=10), share, holdout, remaining) < expected
    assert expected_detectable(Gate(), share, 4 * holdout, remaining) < expected


def test_the_same_stream_gives_the_same_verdict():
    assert judged(noisy(6), seed=7) == judged(noisy(6), seed=7)


@pytest.mark.parametrize(("given", "message"), [
    (outcomes(controls=(1, 2)), "2 controls were run, but the gate needs 5"),
    (outcomes(holdout=0), "0 holdout and 600 remaining"),
    (outcomes(remaining=0), "60 holdout and 0 remaining"),
])  # fmt: skip
def test_what_cannot_be_judged_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        judged(given)


@pytest.mark.parametrize(
    "wrong", [{"bound": 0.0}, {"class_bound": 1.0}, {"controls": 2}, {"promotion": "never"}, {"level": "lax"}]
)
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        Gate(**wrong)


def test_with_too_few_held_out_failures_no_repair_is_accepted():
    for holdout in range(1, 13):
        verdict = judged(outcomes(fixed=holdout, holdout=holdout, controls=(0,) * 5, share=0.05))
        assert verdict.verdict == ("accepted" if holdout >= 10 else "recommended" if holdout > 1 else "not_proven")
        assert (f"{holdout} held-out failures are too few" in verdict.reason) == (1 < holdout < 10)
