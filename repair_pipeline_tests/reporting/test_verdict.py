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
    said = judged(tmp_path, *RECOVERY)
    answers = dict(said.points)
    assert said.headline == "The repair corrects 9 of 10 held-out failures, 6 more than the best control."
    assert "60.0 points over the best control" in answers["The repair"]
    assert "fine-tuning without 8 random rows corrects 1" in answers["The repair"]
    assert "fine-tuning with nothing removed corrects 2" in answers["The repair"]
    assert "retraining on all rows with another seed corrects 3" in answers["The repair"]


def test_what_it_cost_is_stated_beside_what_the_controls_cost(tmp_path):
    assert (
        "It breaks 1 of 20 remaining rows that were right (the controls break 2 to 3)."
        in dict(judged(tmp_path, *RECOVERY).points)["The repair"]
    )


@pytest.mark.parametrize("corrected", [0, 2, 3])
def test_a_repair_that_does_not_beat_the_controls_is_said_not_to(tmp_path, corrected):
    said = judged(tmp_path, BASE, repaired(corrected), *CONTROLS)
    assert "does not beat the controls: the best of them corrects 3" in said.headline
    assert "It does not beat the controls" in dict(said.points)["The repair"]
    assert "Those that correct as many break more" in dict(said.points)["The repair"]
    assert "points over" not in dict(said.points)["The repair"]


def test_a_control_that_corrects_as_many_and_breaks_no_more_leaves_nothing_to_say_for_the_repair(tmp_path):
    said = dict(judged(tmp_path, BASE, repaired(3, kept=17), *CONTROLS).points)["The repair"]
    assert "It does not beat the controls" in said
    assert "break more of" not in said


def test_a_gain_of_a_row_or_two_is_not_taken_for_more_than_chance(tmp_path):
    assert judged(tmp_path, BASE, repaired(5), *CONTROLS).headline.endswith(
        "2 more than the best control: too few to rule out chance."
    )


def test_a_repair_that_breaks_more_than_it_mends_is_said_to(tmp_path):
    assert judged(tmp_path, BASE, repaired(9, kept=2), *CONTROLS).headline.endswith("It breaks more than it mends.")


def test_without_controls_no_gain_is_claimed(tmp_path):
    said = judged(tmp_path, BASE, REPAIRED)
    assert said.headline.endswith("no control was run, so what it gained is not known.")
    assert "more than" not in said.headline
    assert "gained is not known. It breaks" in dict(said.points)["The repair"]
    of_gate = dict(judged(tmp_path / "gate", BASE, REPAIRED, gate={}).points)["The repair"]
    assert "gained is not known beyond what the gate says." in of_gate


def test_an_absent_control_is_counted(tmp_path):
    assert (
        "Only 2 of 3 controls are there." in dict(judged(tmp_path, BASE, REPAIRED, *CONTROLS[:2]).points)["The repair"]
    )


def test_random_rows_under_another_treatment_are_no_control(tmp_path):
    deletion = ("random", "ewc_deletion", 8, 10, 20)
    assert "6 more than the best control" in judged(tmp_path, BASE, REPAIRED, *CONTROLS, deletion).headline


def test_the_first_repair_makes_the_headline_whichever_is_best(tmp_path):
    better = ("ewc", "ewc_deletion", 8, 10, 20)
    assert judged(tmp_path, BASE, repaired(4), better, *CONTROLS).headline.startswith("The repair corrects 4 of 10")


def test_without_a_repair_none_is_claimed(tmp_path):
    assert judged(tmp_path, BASE, *CONTROLS).headline == "No repair was made."


def test_what_failed_and_what_was_found_are_counted(tmp_path):
    said = judged(tmp_path, *RECOVERY)
    answers = dict(said.points)
    assert "wrong on 20 of 60 test rows (33.3%). 6 of these" in answers["What failed"]
    assert "ewc takes 8 of 40 training rows for causes; 6 of them are planted" in answers["What was found"]
    assert "(AUC 0.938; chance is 0.5)" in answers["What was found"]
    assert "plain training loss, the simplest rival, reaches 0.812" in answers["What was found"]
    assert "corrects 10 of 10 held-out failures and breaks 0 of 20" in dict(said.beside)["For comparison"]


def test_where_nothing_is_planted_no_cause_is_called_right(tmp_path):
    found = dict(judged(tmp_path, *RECOVERY[:7], planted=False).points)["What was found"]
    assert found.startswith("ewc takes 8 of 40 training rows for causes. Nothing was planted")
    assert "AUC" not in found


def test_what_is_missing_weakens_the_verdict(tmp_path):
    said = judged(tmp_path, *RECOVERY, missing=("nothing-reseed",))
    assert dict(said.points)["How far to trust it"].endswith("Not everything is there; missing: nothing-reseed.")
