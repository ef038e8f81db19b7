from pathlib import Path

import pytest

from repair_pipeline.reporting.verdict import Verdict, verdict
from repair_pipeline_tests.reporting.made_up import RECOVERY, MadeUp

BASE, REPAIRED, *CONTROLS = (row for row in RECOVERY if row[1] in ("base", "finetune", "reseed"))


def judged(home: Path, *rows: tuple, **variant) -> Verdict:
    return verdict(MadeUp(home, recovery=rows, **variant).written().evidence)


def repaired(corrected: int, kept: int = 19) -> tuple:
    return ("ewc", "finetune", 8, corrected, kept)


def test_a_repair_is_measured_against_its_best_control(tmp_path):
    judgement = judged(tmp_path, *RECOVERY)
    points = dict(judgement.points)
    assert judgement.headline == "The repair corrects 9 of 10 held-out failures, 6 more than the best control."
    assert "60.0 points over the best control" in points["The repair"]
    assert "fine-tuning without 8 random rows corrects 1" in points["The repair"]
    assert "fine-tuning with nothing removed corrects 2" in points["The repair"]
    assert "retraining on all rows with another seed corrects 3" in points["The repair"]


def test_the_cost_of_the_repair_is_compared_with_that_of_the_controls(tmp_path):
    assert (
        "It breaks 1 of 20 remaining rows that were right (the controls break 2 to 3)."
        in dict(judged(tmp_path, *RECOVERY).points)["The repair"]
    )


@pytest.mark.parametrize("corrected", [0, 2, 3])
def test_the_verdict_says_when_a_repair_does_not_beat_the_controls(tmp_path, corrected):
    judgement = judged(tmp_path, BASE, repaired(corrected), *CONTROLS)
    assert "does not beat the controls: the best of them corrects 3" in judgement.headline
    assert "It does not beat the controls" in dict(judgement.points)["The repair"]
    assert "The controls that correct as many break more" in dict(judgement.points)["The repair"]
    assert "points over" not in dict(judgement.points)["The repair"]


def test_nothing_favours_a_repair_if_a_control_corrects_as_many_and_breaks_no_more(tmp_path):
    point = dict(judged(tmp_path, BASE, repaired(3, kept=17), *CONTROLS).points)["The repair"]
    assert "It does not beat the controls" in point
    assert "break more of" not in point


def test_a_gain_of_a_row_or_two_may_be_chance(tmp_path):
    assert judged(tmp_path, BASE, repaired(5), *CONTROLS).headline.endswith(
        "2 more than the best control: too few to rule out chance."
    )


def test_the_headline_says_when_a_repair_breaks_more_than_it_fixes(tmp_path):
    assert judged(tmp_path, BASE, repaired(9, kept=2), *CONTROLS).headline.endswith("It breaks more than it fixes.")


def test_without_controls_no_gain_is_claimed(tmp_path):
    judgement = judged(tmp_path, BASE, REPAIRED)
    assert judgement.headline.endswith("no control was run, so its gain is not known.")
    assert "more than" not in judgement.headline
    assert "its gain is not known. It breaks" in dict(judgement.points)["The repair"]
    with_gate = dict(judged(tmp_path / "gate", BASE, REPAIRED, gate={}).points)["The repair"]
    assert "its gain is not known beyond the gate's verdict." in with_gate


def test_an_absent_control_is_counted(tmp_path):
    assert (
        "Only 2 of 3 controls are available."
        in dict(judged(tmp_path, BASE, REPAIRED, *CONTROLS[:2]).points)["The repair"]
    )


def test_random_rows_under_another_treatment_are_no_control(tmp_path):
    deletion = ("random", "ewc_deletion", 8, 10, 20)
    assert "6 more than the best control" in judged(tmp_path, BASE, REPAIRED, *CONTROLS, deletion).headline


def test_the_first_repair_makes_the_headline_whichever_is_best(tmp_path):
    better = ("ewc", "ewc_deletion", 8, 10, 20)
    assert judged(tmp_path, BASE, repaired(4), better, *CONTROLS).headline.startswith("The repair corrects 4 of 10")


def test_the_headline_says_when_there_is_no_repair(tmp_path):
    assert judged(tmp_path, BASE, *CONTROLS).headline == "No repair was made."


def test_what_failed_and_what_was_found_are_counted(tmp_path):
    judgement = judged(tmp_path, *RECOVERY)
    points = dict(judgement.points)
    assert "wrong on 20 of 60 test rows (33.3%). 6 of these" in points["What failed"]
    assert "2 to decide when to stop (query tuning), and 10 were kept aside" in points["What failed"]
    assert "ewc names 8 of 40 training rows as causes; 6 of them are planted" in points["What was found"]
    assert "(AUC 0.938; chance is 0.5)" in points["What was found"]
    assert "training loss alone, the simplest baseline, reaches an AUC of 0.812" in points["What was found"]
    assert "corrects 10 of 10 held-out failures and breaks 0 of 20" in dict(judgement.comparisons)["For comparison"]


def test_no_cause_is_called_right_if_nothing_is_planted(tmp_path):
    point = dict(judged(tmp_path, *RECOVERY[:7], planted=False).points)["What was found"]
    assert point.startswith("The method ewc names 8 of 40 training rows as causes. Nothing was planted")
    assert "AUC" not in point


def test_the_verdict_names_missing_results(tmp_path):
    judgement = judged(tmp_path, *RECOVERY, missing=("nothing-reseed",))
    assert dict(judgement.points)["How far to trust it"].endswith("Some results are missing: nothing-reseed.")
