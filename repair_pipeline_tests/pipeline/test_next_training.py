"""The patch of a case with cross-fitted suggestions, and the trainings that it is judged by."""

import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.cli.main import app
from repair_pipeline.evaluation.next_training import Trainings, judge_patch
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.pipeline import gate, patch
from repair_pipeline.pipeline.next_training import patch_verdict, patched_rows
from repair_pipeline.pipeline.patch import write_patch
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.storage.files import read_parquet, read_tensors, write_parquet
from repair_pipeline.storage.records import save_rows
from repair_pipeline.types import silent
from repair_pipeline_tests.pipeline.conftest import TINY, case_at
from repair_pipeline_tests.pipeline.running import run
from repair_pipeline_tests.pipeline.test_holdout import assert_same_bits, corrupt_the_holdouts_labels, found

SETTINGS = [
    "influence={cross_fit: {}, random: {}}",
    "treat=[cross_fit]",
    "causes={fdr: 0.2}",
    "treatments={selective_dampening: {}, correct: {}, base: {}}",
    "gate={controls: 3}",
    "patch={trainings: 2}",
]
PATCHING = with_settings(TINY, SETTINGS)
STEP = {step.name: step for step in STEPS}


FALSE_SHARE, SURE = 0.17, 0.82


@contextmanager
def thresholds():
    """Of so few rows no probability comes near the usual ones."""
    with pytest.MonkeyPatch.context() as patch_module:
        patch_module.setattr(patch, "FALSE_SHARE", FALSE_SHARE)
        patch_module.setattr(patch, "_SURE", SURE)
        yield


@pytest.fixture(scope="module")
def done(finished_home, tmp_path_factory):
    """The tiny case's base, and the patch and trainings that are made on it."""
    home = tmp_path_factory.mktemp("patching")
    (home / "results").mkdir()
    (home / "results" / "bases").symlink_to(finished_home / "results" / "bases")
    made = case_at(home, PATCHING)
    with pytest.MonkeyPatch.context() as silenced:
        silenced.setattr(gate, "publish", lambda *args: 1)
        silenced.setattr(gate, "set_champion_if_none", lambda *args: None)
        silenced.setattr(gate, "set_candidate", lambda *args: None)
        with thresholds():
            assert run(made).failed == {}
    return made


@pytest.fixture
def case(done, tmp_path):
    """A copy to change, with a base of its own."""
    return case_at(Path(shutil.copytree(done.layout.home, tmp_path / "home")), PATCHING)


def table(case, name):
    return read_parquet(case.layout.table(name, case.id))[0].to_pylist()


@pytest.fixture(scope="module")
def predicted(done):
    """P(harmful), and suggestions, from the stored predictions."""
    given, share = done.data.fit.examples.labels, done.partition.query_side.failure_share
    _, harmful = harm(SOFTMAX, done.out_of_fold(), given, share)
    return harmful, suggestions(SOFTMAX, done.out_of_fold(), given, harmful, share)


def test_the_patch_changes_the_rows_within_the_false_share_and_relabels_where_the_suggestion_is_sure(done, predicted):
    harmful, suggested = predicted
    fit, names = done.data.fit.examples, done.data.classes
    rows, at = table(done, "patch"), {name: row for row, name in enumerate(fit.ids)}
    assert {row["example_id"] for row in rows} == gate.repair(done).causes.as_set
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    false = 0.0
    certain = 0
    for place, row in enumerate(rows, start=1):
        false += 1 - row["probability"]
        certain = place if false / place <= FALSE_SHARE else certain
    for place, row in enumerate(rows, start=1):
        of_row = at[row["example_id"]]
        label, right = int(suggested.labels[of_row]), float(suggested.probability[of_row])
        assert row["label"] == names[fit.labels[of_row]]
        assert row["probability"] == pytest.approx(float(harmful[of_row]))
        assert row["suggestion_probability"] == pytest.approx(right)
        due = "keep" if place > certain else "relabel" if right >= SURE else "drop"
        assert row["action"] == due
        assert row["suggested_label"] == (names[label] if due == "relabel" else None)
        assert f"models that did not learn it say {names[label]}, right with probability {right:.2f}" in row["reason"]
    assert set(Counter(row["action"] for row in rows)) == {"keep", "drop", "relabel"}


def test_the_patched_rows_are_those_kept_in_order_with_the_new_labels(done):
    actions = {row["example_id"]: row for row in table(done, "patch")}
    fit, names = done.data.fit.examples, done.data.classes
    due = []
    for name, label in zip(fit.ids, fit.labels.tolist(), strict=True):
        row = actions.get(name, {"action": "keep"})
        if row["action"] != "drop":
            due.append((name, names.index(row["suggested_label"]) if row["action"] == "relabel" else label))
    patched = patched_rows(done)
    assert list(zip(patched.ids, patched.labels.tolist(), strict=True)) == due
    assert len(due) < len(fit)


def test_of_several_groups_the_last_suggestion_for_a_row_counts_as_where_a_patch_is_applied(case):
    fit, names = case.data.fit.examples, case.data.classes
    one, other = fit.ids[:2].tolist()
    new = (fit.labels[0] + 1) % 10
    rows = [
        {"failure_group": "A", "example_id": one, "action": "drop", "suggested_label": None},
        {"failure_group": "A", "example_id": other, "action": "drop", "suggested_label": None},
        {"failure_group": "B", "example_id": one, "action": "relabel", "suggested_label": names[new]},
        {"failure_group": "B", "example_id": other, "action": "keep", "suggested_label": None},
    ]
    save_rows(case.layout.table("patch", case.id), "patch", rows, {})
    patched = patched_rows(case)
    assert patched.ids.tolist() == fit.ids.tolist()
    assert patched.labels.tolist() == [int(new), *fit.labels[1:].tolist()]


def outcome(case, name, rows):
    tensors, _ = read_tensors(case.layout.model(case.id, f"next_training-{name}"))
    model = case.untrained(torch.Generator().manual_seed(0)).eval()
    model.load_state_dict(tensors)
    with torch.no_grad():
        return (model(rows.inputs).argmax(dim=1) == rows.labels).numpy()


def test_the_verdict_is_that_of_the_stored_models_on_rows_that_nothing_read(done):
    def arm(name, rows):
        return np.stack([outcome(done, f"{name}-{number}", rows) for number in range(2)])

    holdout, remaining = done.partition.holdout, done.partition.remaining
    share = done.partition.failure_share
    due = judge_patch(
        Trainings(
            *(arm(name, rows) for name in ("as_is", "patched") for rows in (holdout, remaining)),
            share=share,
        )
    )
    row = patch_verdict(done.layout, done.id)
    for name, value in asdict(due).items():
        assert row[name] == (value if isinstance(value, str) else pytest.approx(value)), name
    true = share * arm("true_labels", holdout).mean() + (1 - share) * arm("true_labels", remaining).mean()
    assert row["true_labels"] == pytest.approx(true)
    counts = Counter(each["action"] for each in table(done, "patch"))
    assert (row["dropped"], row["relabelled"]) == (counts["drop"], counts["relabel"])
    assert (row["holdout"], row["remaining"]) == (len(holdout), len(remaining))
    assert row["difference"] != 0


def test_trainings_of_one_number_differ_by_the_data_alone(case):
    save_rows(case.layout.table("patch", case.id), "patch", [], {})
    made = STEP["patch_verdict"].run(case, force=True)
    weights = {path.stem: read_tensors(path)[0] for path in made if path.suffix == ".safetensors"}
    for name, value in weights["next_training-as_is-0"].items():
        assert torch.equal(value, weights["next_training-patched-0"][name])
    assert any(
        (weights["next_training-as_is-0"][name] != value).any()
        for name, value in weights["next_training-as_is-1"].items()
    )
    verdict = patch_verdict(case.layout, case.id)
    assert (verdict["difference"], verdict["difference_low"], verdict["difference_high"]) == (0, 0, 0)


def test_a_changed_patch_remakes_the_patched_trainings_and_the_verdict_alone(case):
    assert STEP["patch_verdict"].stale(case) == {}
    path = case.layout.table("patch", case.id)
    rows, notes = read_parquet(path)
    write_parquet(path, rows.slice(1), notes)
    made = STEP["patch_verdict"].run(case)
    assert sorted(each.stem for each in made) == [
        "next_training-patched-0",
        "next_training-patched-1",
        "patch_verdicts",
    ]
    assert STEP["patch_verdict"].run(case) == []


def test_the_patch_and_what_it_is_made_of_read_no_label_of_the_holdout(case, done):
    corrupt_the_holdouts_labels(case)
    blind = case_at(case.layout.home, PATCHING)
    steps = [STEP[name] for name in ("cross_fit", "influence_cross_fit", "repaired_correct", "pairs")]
    honest = found([path for step in steps for file in step.files(done) for path in file.paths])
    assert_same_bits(found([path for step in steps for path in step.run(blind, force=True)]), honest)
    before = table(done, "patch")
    with thresholds():
        write_patch(blind, blind.layout.table("patch", blind.id), silent)
    assert table(blind, "patch") == before
    trained = [file.path for file in STEP["patch_verdict"].files(done) if file.path.suffix == ".safetensors"]
    made = STEP["patch_verdict"].run(blind, force=True)
    weights = [path for path in made if path.suffix == ".safetensors"]
    assert len(weights) == len(trained) == 6
    assert_same_bits(found(weights), found(trained))
    assert patch_verdict(blind.layout, blind.id)["as_is"] != patch_verdict(done.layout, done.id)["as_is"]


def evaluated(monkeypatch, home, *arguments):
    monkeypatch.setenv("REPAIR_HOME", str(home))
    monkeypatch.setenv("REPAIR_DATA_DIR", str(home / "no-data"))
    return CliRunner().invoke(app, ["patch", "evaluate", *arguments])


def test_patch_evaluate_says_the_verdict_in_a_sentence_and_how_to_read_it(case, monkeypatch):
    result = evaluated(monkeypatch, case.layout.home, case.id, "--trainings", "2", "--device", "cpu")
    assert result.exit_code == 0, result.output
    row = patch_verdict(case.layout, case.id)
    assert row["reason"] in result.stdout
    assert f"SELECT * FROM patch_verdicts WHERE case_id = '{case.id}'" in result.stdout


def test_patch_evaluate_without_a_patch_says_how_to_make_one(case, monkeypatch):
    case.layout.table("patch", case.id).unlink()
    result = evaluated(monkeypatch, case.layout.home, case.id)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"repair: case {case.id} has no patch yet; to make it: repair run {case.id}"


def test_without_cross_fitting_nothing_is_suggested(case, monkeypatch):
    monkeypatch.setattr(type(case.spec), "cross_fits", property(lambda spec: False))
    write_patch(case, case.layout.table("patch", case.id), silent)
    rows = table(case, "patch")
    assert rows
    assert {row["suggested_label"] for row in rows} | {row["suggestion_probability"] for row in rows} == {None}
