import pytest

from repair_pipeline.reporting.next_moves import next_moves

JUDGED = {
    "removed": 40,
    "holdout": 30,
    "over_control_low": -0.01,
    "failures_needed": 75,
    "remaining_low": -0.01,
    "margin": 0.02,
}


def moves(verdict, patch_verdict=None, own_data=True, **judged):
    row = JUDGED | judged | {"verdict": verdict}
    return " ".join(next_moves(row, patch_verdict and {"verdict": patch_verdict}, "wards-1", "wards", own_data))


@pytest.mark.parametrize("verdict", ["accepted", "recommended", "rejected", "not_proven", "not_a_data_problem"])
def test_every_verdict_has_a_next_move(verdict):
    assert moves(verdict, own_data=False)


def test_an_accepted_model_can_be_promoted():
    assert "repair promote wards" in moves("accepted")
    assert "promote" not in moves("rejected")


def test_a_gain_that_more_failures_would_settle_names_their_number():
    assert "75 held-out ones" in moves("not_proven")
    assert "gate.controls" in moves("not_proven", failures_needed=None)
    assert "75" not in moves("not_proven", over_control_low=0.01)


def test_a_margin_that_is_not_kept_names_the_level():
    assert "exploratory" not in moves("not_proven")
    assert "exploratory" in moves("not_proven", remaining_low=-0.03)


def test_a_patch_that_makes_the_next_training_better_is_offered_whatever_the_model_s_verdict():
    for verdict in ("rejected", "not_proven", "accepted"):
        assert "repair patch apply wards-1" in moves(verdict, "better")
        assert "repair patch apply" not in moves(verdict, "worse")
        assert "repair patch evaluate wards-1" in moves(verdict)
        assert "patch" not in moves(verdict, "better", own_data=False)


def test_nothing_is_said_about_rows_where_none_was_found():
    assert "wards-1" not in moves("not_proven", removed=0)
