"""The rows of a case for review: from its stored tables, and nothing of what is held out."""

import shutil
from dataclasses import replace

import pytest
import torch

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.review import review_sheet
from repair_pipeline_tests.reporting.made_up import PATCHED, ROWS, MadeUp


def case_of(made):
    spec = stored_spec(made.layout, made.name)
    return Case(spec, made.layout, made.home / "no-data", torch.device("cpu"))


@pytest.fixture
def case(tmp_path):
    first = MadeUp(tmp_path, gate={}).written()
    made = replace(first, name=case_of(first).id).written()
    found = case_of(made)
    shutil.copytree(made.layout.base("b", ""), made.layout.base(found.spec.base_id, ""))
    return found


def test_all_scored_rows_are_there_the_most_harmful_first_and_those_of_the_patch_are_marked(case):
    rows = review_sheet(case).rows.to_pylist()
    assert [row["example_id"] for row in rows] == [f"fit-{at:03d}" for at in range(ROWS)]
    assert [row["action"] for row in rows] == [*(["relabel", "drop"] * (PATCHED // 2)), *([None] * (ROWS - PATCHED))]
    assert [row["rank"] for row in rows] == [*range(1, ROWS + 1)]
    assert rows[0]["reason"] == "rank 1 of 40 by influence"
    assert rows[PATCHED]["label"] == "cat"


def test_the_failures_that_a_row_opposes_are_the_query_failures_most_opposed_first(case):
    sheet = review_sheet(case)
    assert len(sheet.opposed["fit-000"]) == 5
    assert sheet.rows["opposes"][0].as_py() == 6
    assert "fit-011" not in sheet.opposed  # its influence is below 0
    assert set(sheet.failures.ids.tolist()) == {f"test-00{at}" for at in range(6)}


def test_nothing_that_is_held_out_is_shown(case):
    sheet = review_sheet(case)
    assert sheet.repeated == {"fit-003": [("test-020", "dog")]}  # and not test-009 of the holdout
    held_out = set(case.first_view.partition.holdout.ids.tolist()) | set(
        case.first_view.partition.remaining.ids.tolist()
    )
    assert held_out
    assert not held_out & set(sheet.failures.ids.tolist())


def test_a_case_without_scores_is_refused_with_the_next_move(tmp_path):
    found = case_of(MadeUp(tmp_path, gate={}).written())
    with pytest.raises(InputError, match=f"repair run {found.id}"):
        review_sheet(found)
