"""Which rows of a case's patch are applied: those of groups whose repair is accepted or recommended."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.cli.main import app
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
from repair_pipeline_tests.pipeline.conftest import case_at


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A function that gives a case of two groups, with a row of the patch each, two verdicts and applies its patch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path / "home"))
    rows = pd.DataFrame({"row": list("abcd"), "x": [0.0, 1.0, 2.0, 3.0], "label": ["no", "yes"] * 2})
    rows.to_csv("train.csv", index=False)
    rows.assign(row=list("efgh")).to_csv("test.csv", index=False)
    dataset = {"train": "train.csv", "test": "test.csv", "id": "row"}
    groups = {"groups": {"A": "x < 1", "B": "x >= 1"}}
    case = case_at(
        tmp_path / "home",
        parse_spec({"name": "wards", "dataset": dataset, "model": {"factory": "my_model:net"}, "failures": groups}),
    )
    case.register("finished")
    dropped = {"A": "a", "B": "b"}
    changes = [{"failure_group": group, "example_id": row, "action": "drop"} for group, row in dropped.items()]
    save_rows(case.layout.table("patch", case.id), "patch", changes, {})

    def apply_with(next_training=None, **verdicts):
        if next_training:
            row = {"verdict": next_training}
            save_rows(case.layout.table("patch_verdicts", case.id), "patch_verdicts", [row], {})
        rows = [{"failure_group": group, "judge": "gate", "verdict": verdict} for group, verdict in verdicts.items()]
        save_rows(case.layout.table("verdicts", case.id), "verdicts", rows, {})
        result = CliRunner().invoke(app, ["patch", "apply", case.id])
        return case.id, result, pd.read_csv("train.csv")["row"].tolist()

    return apply_with


def test_no_data_problem_no_patch(judged, tmp_path):
    case_id, result, rows = judged(A="not_a_data_problem", B="not_a_data_problem")
    assert result.stderr.startswith(f"repair: the verdict of {case_id} is not a data problem: ")
    assert "so the data were not changed" in result.stderr
    assert (result.exit_code, rows) == (2, list("abcd"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "test.csv", "train.csv"]


@pytest.mark.parametrize("proven", ["accepted", "recommended"])
def test_only_groups_whose_repair_is_proven_are_patched(judged, proven):
    _, result, rows = judged(A="rejected", B=proven)
    assert (result.exit_code, rows) == (0, list("acd"))


def test_a_patch_that_makes_the_next_training_better_is_applied_whatever_the_gate_says_of_the_model(judged):
    _, result, rows = judged("better", A="rejected", B="not_proven")
    assert (result.exit_code, rows) == (0, list("cd"))


def test_a_patch_that_makes_the_next_training_worse_is_not_applied(judged):
    case_id, result, rows = judged("worse", A="accepted", B="accepted")
    assert (result.exit_code, rows) == (2, list("abcd"))
    assert f"the next training is worse with the patch of {case_id}" in result.stderr


def test_a_next_training_that_decides_nothing_leaves_the_word_to_the_gate(judged):
    _, result, rows = judged("not_proven", A="rejected", B="accepted")
    assert (result.exit_code, rows) == (0, list("acd"))


def test_a_case_is_not_run_while_its_patch_is_applied(judged):
    case_id, applied, _ = judged(A="accepted", B="rejected")
    assert applied.stdout.splitlines()[1].startswith("next: retrain on it")
    for command in (["run", case_id], ["run", case_id, "--force"]):
        again = CliRunner().invoke(app, command)
        assert again.exit_code == 2
        assert f"the patch of {case_id} is applied to train.csv" in again.stderr
        assert "Traceback" not in again.output
    [known] = query(Layout.current(), "SELECT status FROM cases").to_pylist()
    assert known["status"] == "finished"
    assert CliRunner().invoke(app, ["patch", "revert", case_id]).exit_code == 0
    require_runnable(case_at(Layout.current().home, stored_spec(Layout.current(), case_id)))


def test_a_model_without_a_candidate_is_not_promoted_and_the_verdict_says_why(judged):
    case_id, _, _ = judged(A="not_a_data_problem", B="recommended")
    refused = CliRunner().invoke(app, ["promote", "wards"])
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"the verdict on {case_id} is not a data problem and recommended, and only an accepted" in refused.stderr
    judged(A="not_a_data_problem", B="accepted")
    assert "there is no registered model 'wards'" in CliRunner().invoke(app, ["promote", "wards"]).stderr
    assert "there is no registered model 'beds'" in CliRunner().invoke(app, ["promote", "beds"]).stderr
